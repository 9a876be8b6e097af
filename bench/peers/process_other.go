//go:build !linux

package main

import "syscall"

// procAttr makes a group of its own.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
