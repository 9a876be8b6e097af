//go:build !linux

package spread

// Out is for Linux.
func Out(string) {}
