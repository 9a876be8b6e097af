package main

import "syscall"

// procAttr makes a group of its own that ends with us, however we end.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
