package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// containment is how all processes of a plugin are found again.
type containment string

const (
	// inNamespace: a pid namespace of its own. When its first process ends,
	// the kernel kills all others, whatever they did to hide.
	inNamespace containment = "pid_namespace"
	// inUserNamespace: the same, in a user namespace, for hosts without root.
	inUserNamespace containment = "user_and_pid_namespace"
	// inGroup: a process group, plus every process with the marker in its
	// environment.
	inGroup containment = "process_group"
)

// containments lists them best first.
func containments() []containment {
	if os.Geteuid() == 0 {
		return []containment{inNamespace, inUserNamespace, inGroup}
	}
	return []containment{inUserNamespace, inGroup}
}

// refused reports whether err of a start says that this machine does not give
// that containment, and not that the command is wrong.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC) ||
		errors.Is(err, unix.EUSERS) || errors.Is(err, unix.ENOSYS)
}

// held is how a confined process is.
func held(namespace bool) containment {
	if namespace {
		return inNamespace
	}
	return inGroup
}

// occupied is what a file takes on disk.
func occupied(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// attributes starts a process as leader of its own group that dies with the
// host. The user namespace maps the host's user to itself: no new rights.
func (c containment) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	switch c {
	case inNamespace:
		a.Cloneflags = unix.CLONE_NEWPID
	case inUserNamespace:
		a.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// reap blocks until the process has ended, kills what it left behind and waits
// for it, in this order: until it is waited for, its pid, and so its group's,
// cannot be another's.
func (r *procRunner) reap() {
	pid := r.cmd.Process.Pid
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contain.killAll(pid, r.marker)
	r.waitErr, r.reaped = r.cmd.Wait(), true
}

// killAll kills the process, its group and, where no namespace does it, every
// process that carries the marker. It must be called before pid is reaped.
func (c containment) killAll(pid int, marker string) {
	_ = unix.Kill(-pid, unix.SIGKILL)
	_ = unix.Kill(pid, unix.SIGKILL)
	if c == inGroup {
		killMarked(marker)
	}
}

// killMarked looks again after each round that found some, since they may have
// forked meanwhile; the number of rounds is bounded.
func killMarked(marker string) {
	want := []byte(markerKey + "=" + marker)
	for range 10 {
		found := false
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return
		}
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() || !marked(pid, want) {
				continue
			}
			found = killPID(pid, want) || found
		}
		if !found {
			return
		}
	}
}

// marked reports whether a process was started with the marker. Zombies have
// no environment and are never marked.
func marked(pid int, want []byte) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(v, want) {
			return true
		}
	}
	return false
}

// killPID kills through a pidfd and looks at the marker again between, so that
// a pid that changed hands is left alone.
func killPID(pid int, want []byte) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return marked(pid, want) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// openSocket opens the socket itself, not what a link names, and gives a path
// that keeps meaning it whatever the plugin does to its directory.
func openSocket(path string) (*os.File, string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open its socket %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		f.Close()
		return nil, "", fmt.Errorf("%s is not a socket", path)
	}
	return f, fmt.Sprintf("/proc/self/fd/%d", fd), nil
}
