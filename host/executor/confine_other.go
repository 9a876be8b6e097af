//go:build unix && !linux

package executor

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// containment is how all processes of a plugin are found again: here only by
// their process group.
type containment string

const inGroup containment = "process_group"

func containments() []containment { return []containment{inGroup} }

func refused(error) bool { return false }

func held(bool) containment { return inGroup }

func occupied(info os.FileInfo) int64 { return info.Size() }

func (containment) attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap cannot look before it waits here.
func (r *procRunner) reap() {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contain.killAll(r.cmd.Process.Pid, r.marker)
	r.waitErr, r.reaped = err, true
}

func (containment) killAll(pid int, _ string) { _ = unix.Kill(-pid, unix.SIGKILL) }

func openSocket(path string) (*os.File, string, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, "", fmt.Errorf("look at its socket: %w", err)
	}
	if st.Mode()&os.ModeSocket == 0 {
		return nil, "", fmt.Errorf("%s is not a socket", path)
	}
	f, err := os.Open(os.DevNull)
	return f, path, err
}
