//go:build !linux

package sdk

import "os/exec"

// runInGroup runs cmd; what it starts itself is not looked after here, as it is
// on Linux, where hosts run.
func runInGroup(cmd *exec.Cmd) error { return cmd.Run() }
