//go:build !linux

package sandboxtest

// Main does nothing here.
func Main() {}
