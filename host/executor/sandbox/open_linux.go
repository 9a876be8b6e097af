package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Uids of plugins when the host is root. The range is reserved by Debian and
// below what rootless containers map.
const (
	firstUID = 65200
	uids     = 256
)

// setupTime is how long a shim may take, on a machine that is busy.
const setupTime = 20 * time.Second

// Sandbox starts confined processes. Safe for concurrent use.
type Sandbox struct {
	shim    string
	log     hclog.Logger
	ns      namespaces
	plan    order // what every order has
	support Support
	groups  *groups
	nextUID atomic.Uint32
}

// namespaces is the kind of them that a process gets.
type namespaces string

const (
	nsNone namespaces = ""     // the machine allows none
	nsRoot namespaces = "root" // by the right of root
	nsUser namespaces = "user" // in a user namespace
)

// Open finds out what this machine gives. shim is an executable that calls Main
// first thing, mostly this one: "/proc/self/exe". With "" there are no layers.
func Open(shim string, log hclog.Logger) *Sandbox {
	s := &Sandbox{shim: shim, log: log, support: Support{has: map[Layer]bool{}, Missing: map[Layer]string{}}}
	if shim == "" {
		s.none("this program does not start sandboxed processes")
		return s
	}
	if err := s.probe(); err != nil {
		s.none(err.Error())
		return s
	}
	s.groups = openGroups(log)
	for l, err := range s.groups.tried {
		if err != nil {
			s.support.Missing[l] = err.Error()
		} else {
			s.support.has[l] = true
		}
	}
	return s
}

func (s *Sandbox) none(why string) {
	for _, l := range Layers() {
		s.support.Missing[l] = why
	}
}

// Support is what this machine gives.
func (s *Sandbox) Support() Support { return s.support }

// Close removes what Open made. No process may be left.
func (s *Sandbox) Close() {
	if s.groups != nil {
		s.groups.close()
	}
}

// probe tries the layers that the shim sets up, with the best namespaces there are.
func (s *Sandbox) probe() error {
	kinds := []namespaces{nsUser, nsNone}
	if os.Geteuid() == 0 {
		kinds = []namespaces{nsRoot, nsUser, nsNone}
	}
	why := ""
	for _, ns := range kinds {
		o := order{Trial: true, Root: ns != nsNone, Proc: ns != nsNone, NoPIDs: ns == nsNone}
		if ns == nsRoot {
			o.UID = firstUID
		}
		missing, err := s.trial(ns, o)
		if err == nil && missing[LayerProc] != "" {
			noProc := missing[LayerProc]
			o.Proc = false
			if missing, err = s.trial(ns, o); err == nil {
				missing[LayerProc] = noProc
			}
		}
		if err == nil {
			s.settle(ns, missing, why)
			return nil
		}
		if ns == nsNone || !forbidden(err) {
			return fmt.Errorf("trying it failed: %w", err)
		}
		if why == "" {
			why = fmt.Sprintf("namespaces are refused (%v)", err)
		}
	}
	return nil
}

// forbidden reports whether a start failed for want of a right.
func forbidden(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC) ||
		errors.Is(err, unix.EUSERS) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EACCES)
}

// settle notes what a trial found.
func (s *Sandbox) settle(ns namespaces, missing report, why string) {
	s.ns = ns
	if ns == nsNone {
		for _, l := range []Layer{LayerRoot, LayerPIDs, LayerNetwork, LayerEgress, LayerProc} {
			missing[l] = why
		}
	}
	if os.Geteuid() != 0 {
		missing[LayerUID] = "only root can give a process another user"
	} else if (ns != nsRoot || missing[LayerRoot] != "") && missing[LayerUID] == "" {
		missing[LayerUID] = "without a root of its own the other user could not read its target"
	}
	for _, l := range Layers() {
		switch l {
		case LayerCgroupMemory, LayerCgroupPIDs, LayerCgroupCPU:
			continue
		}
		if missing[l] != "" {
			s.support.Missing[l] = missing[l]
		} else {
			s.support.has[l] = true
		}
	}
	has := s.support.Has
	s.plan = order{Root: has(LayerRoot), Proc: has(LayerProc), Seccomp: has(LayerSeccomp), NoPIDs: !has(LayerPIDs)}
	if has(LayerLandlock) {
		s.plan.Landlock = landlockABI()
	} else if has(LayerScopes) {
		s.support.Missing[LayerScopes] = "Landlock as a whole is missing: " + missing[LayerLandlock]
		delete(s.support.has, LayerScopes)
	}
}

// trial starts a shim that tries everything, and gives back what failed.
func (s *Sandbox) trial(ns namespaces, o order) (report, error) {
	dir, err := os.MkdirTemp("", "securetag-trial-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.Spec = Spec{Dir: dir, Write: []string{dir}, Tmp: filepath.Join(dir, "tmp"), Limits: Limits{FileSize: 1 << 20}}
	if err := os.Mkdir(o.Spec.Tmp, 0o700); err != nil {
		return nil, err
	}
	if o.UID != 0 { // as Jail.Own does: else that user could not be shown it
		if err := errors.Join(os.Chown(dir, o.UID, o.UID), os.Chown(o.Spec.Tmp, o.UID, o.UID)); err != nil {
			return nil, err
		}
	}
	cmd, link, err := s.command(ns, false)
	if err != nil {
		return nil, err
	}
	defer link.Close()
	err = cmd.Start()
	closeAll(cmd.ExtraFiles)
	if err != nil {
		return nil, err
	}
	err = json.NewEncoder(link).Encode(o)
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(io.LimitReader(link, 64<<10))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		return nil, err
	}
	found := report{}
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, fmt.Errorf("the trial said %q", answer)
	}
	return found, nil
}

// command builds a shim and the channel to it.
func (s *Sandbox) command(ns namespaces, network bool) (*exec.Cmd, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetNonblock(pair[0], true) // so that it can have deadlines
	link := os.NewFile(uintptr(pair[0]), "channel")
	if err := link.SetDeadline(time.Now().Add(setupTime)); err != nil {
		link.Close()
		_ = unix.Close(pair[1])
		return nil, nil, err
	}
	// The shim's own: it lives for milliseconds and has one thing to do.
	env := []string{"GOMAXPROCS=1", "GOGC=off"}
	cmd := &exec.Cmd{Path: s.shim, Args: []string{shimName}, Env: env, Dir: "/", ExtraFiles: []*os.File{os.NewFile(uintptr(pair[1]), "channel")}}
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if ns != nsNone {
		a.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		if !network {
			a.Cloneflags |= unix.CLONE_NEWNET
		}
	}
	if ns == nsUser {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// They hold in the new namespace only, and until the plugin is executed.
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
		if !network {
			a.AmbientCaps = append(a.AmbientCaps, unix.CAP_NET_ADMIN) // of the loopback
		}
	}
	cmd.SysProcAttr = a
	return cmd, link, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
