package sdk

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// runInGroup runs cmd as the leader of a process group of its own and kills the
// group when it ends, when its context does, and, by the kernel, when the
// plugin dies. That signal comes when the thread that forked ends, so this
// goroutine keeps its thread.
func runInGroup(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var mu sync.Mutex
	ended := false
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return os.ErrProcessDone
		}
		return unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// Until it is waited for, its pid, and so the group's, cannot be another's.
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	mu.Lock()
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // none left is well
	ended = true
	mu.Unlock()
	return cmd.Wait()
}
