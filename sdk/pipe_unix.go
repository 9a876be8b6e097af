//go:build unix

package sdk

import "syscall"

// makePipe makes a named pipe: whoever opens it as a file waits for ever.
func makePipe(path string) error { return syscall.Mkfifo(path, 0o600) }
