// Package kits tests the plugin kits for Python and Node.js (sdk/python and
// sdk/node) where it matters: in the host's own executor. What the kits need
// beyond an interpreter is installed by scripts/kit-deps.sh.
package kits
