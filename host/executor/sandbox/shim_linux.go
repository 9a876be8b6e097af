package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shimName is argv[0] of a shim. No program of ours is called so.
const shimName = "securetag-sandbox-shim"

// channel is the file by which host and shim talk, program what is executed when
// the order says so.
const (
	channel = 3
	program = 4
)

// order is what the host tells the shim.
type order struct {
	Spec  Spec
	Trial bool // try each layer and say what fails, instead of becoming Argv
	// Program has the open file executed, whatever is at Argv[0] by now.
	Program bool

	Root     bool // in namespaces of its own: make a root
	Proc     bool
	UID      int // 0: keep it
	Landlock int // the kernel's ABI, 0: none
	Seccomp  bool
	Data     int64 // RLIMIT_DATA
	Procs    int   // RLIMIT_NPROC
	NoPIDs   bool  // there is no pid namespace: see policy
	Doors    []int // open files by which to join cgroups: see group.doors
}

// report is what a trial found: why a layer is missing, "" when it is there.
type report map[Layer]string

// Main becomes the shim when this process was started as one, and then does not
// return. A program that imports this package has it called before main is;
// those that run plugins call it first thing all the same, because a shim that
// went on would be a second host.
func Main() {
	if len(os.Args) != 1 || os.Args[0] != shimName {
		return
	}
	runtime.LockOSThread() // most of what follows is of a thread
	link := os.NewFile(channel, "channel")
	var o order
	in := json.NewDecoder(link)
	err := in.Decode(&o)
	switch {
	case err != nil:
		err = fmt.Errorf("read the order: %w", err)
	case o.Trial:
		err = json.NewEncoder(link).Encode(o.try())
	default:
		err = o.confine(link, func() error {
			var word string
			if err := in.Decode(&word); err != nil {
				return fmt.Errorf("wait for the cgroups: %w", err)
			}
			return o.join()
		})
	}
	if err != nil {
		_, _ = link.WriteString(err.Error())
		os.Exit(125)
	}
	os.Exit(0)
}

// confine sets everything up and executes Argv; it returns only an error.
func (o *order) confine(link *os.File, joined func() error) error {
	if o.Root {
		if err := o.makeRoot(); err != nil {
			return err
		}
	}
	if o.Spec.Egress {
		if err := giveListener(link); err != nil {
			return fmt.Errorf("make its way out: %w", err)
		}
	}
	if err := o.limit(); err != nil {
		return err
	}
	if err := os.Chdir(o.Spec.Dir); err != nil {
		return err
	}
	if err := joined(); err != nil {
		return err
	}
	if err := o.drop(); err != nil {
		return err
	}
	if o.Landlock > 0 {
		if err := o.landlock(); err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	if o.Seccomp {
		if err := loadFilter(o.Spec.Network, o.Spec.Egress, !o.Root, o.NoPIDs); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	if err := hostLives(); err != nil {
		return err
	}
	// Last: the shim itself needs memory and files.
	if err := o.limitLast(); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", o.Spec.Argv[0], o.execute())
}

// join moves this thread alone: to move a whole process took milliseconds for
// each hierarchy when it was measured. It is the one that executes.
func (o *order) join() error {
	for _, door := range o.Doors {
		if _, err := unix.Write(door, []byte("0")); err != nil {
			return fmt.Errorf("join a cgroup: %w", err)
		}
	}
	return nil
}

// execute becomes Argv, with no file open but the standard ones and, because the
// interpreter of a script opens it anew, the program.
func (o *order) execute() error {
	if err := unix.CloseRange(channel, 1<<31, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close files: %w", err)
	}
	if !o.Program {
		return syscall.Exec(o.Spec.Argv[0], o.Spec.Argv, o.Spec.Env)
	}
	if _, err := unix.FcntlInt(program, unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("keep the program open: %w", err)
	}
	err := syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", program), o.Spec.Argv, o.Spec.Env)
	if errors.Is(err, unix.ENOENT) { // no /proc: then only what needs no interpreter
		err = execFile(program, o.Spec.Argv, o.Spec.Env)
	}
	return err
}

// execFile is execveat of an open file.
func execFile(fd uintptr, argv, env []string) error {
	argp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	var empty [1]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, fd, uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argp[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

// try reports what fails here, layer by layer. It runs in the namespaces that a
// plugin would get; that there are any the host knows from having started it.
func (o *order) try() report {
	r := report{}
	note := func(l Layer, err error) {
		if err != nil {
			r[l] = err.Error()
		}
	}
	if o.Root {
		err := o.makeRoot()
		if err != nil && o.Proc {
			// A container with a masked /proc allows no other one. It may be that alone.
			note(LayerProc, err)
			o.Proc = false
		} else {
			note(LayerRoot, err)
			o.Root = err == nil
		}
		note(LayerEgress, o.tryEgress())
	}
	note(LayerRlimits, o.limit())
	if o.UID != 0 {
		note(LayerUID, o.drop())
		o.UID = 0
	}
	if err := o.drop(); err != nil {
		note(LayerSeccomp, err) // no_new_privs: nothing that follows works
	}
	switch o.Landlock = landlockABI(); {
	case o.Landlock == 0:
		note(LayerLandlock, errors.New("the kernel has no Landlock, or it is not switched on"))
	case o.Landlock < 3:
		note(LayerLandlock, fmt.Errorf("the kernel has Landlock ABI %d, and 3 is the first that covers truncation", o.Landlock))
	default:
		note(LayerLandlock, o.landlock())
	}
	if o.Landlock < 6 {
		note(LayerScopes, fmt.Errorf("the kernel has Landlock ABI %d, and 6 is the first with scopes", o.Landlock))
	}
	note(LayerSeccomp, loadFilter(o.Spec.Network, o.Spec.Egress, !o.Root, o.NoPIDs))
	return r
}

// limit sets what the shim itself can live with.
func (o *order) limit() error {
	l := o.Spec.Limits
	for _, r := range []struct {
		what string
		id   int
		max  int64
	}{{"file size", unix.RLIMIT_FSIZE, l.FileSize}, {"core", unix.RLIMIT_CORE, -1}} {
		if r.max == 0 {
			continue
		}
		max := uint64(max(r.max, 0))
		if err := unix.Setrlimit(r.id, &unix.Rlimit{Cur: max, Max: max}); err != nil {
			return fmt.Errorf("limit %s: %w", r.what, err)
		}
	}
	// A plugin that computes must not slow the host that looks after it.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 5)
	return nil
}

func (o *order) limitLast() error {
	for _, r := range []struct {
		what string
		id   int
		max  int64
	}{
		{"open files", unix.RLIMIT_NOFILE, int64(o.Spec.Limits.OpenFiles)},
		{"processes", unix.RLIMIT_NPROC, int64(o.Procs)},
		{"data", unix.RLIMIT_DATA, o.Data},
	} {
		if r.max <= 0 {
			continue
		}
		limit := unix.Rlimit{Cur: uint64(r.max), Max: uint64(r.max)}
		var now unix.Rlimit
		if unix.Getrlimit(r.id, &now) == nil && now.Max < limit.Max {
			limit.Cur, limit.Max = now.Max, now.Max
		}
		if err := unix.Setrlimit(r.id, &limit); err != nil {
			return fmt.Errorf("limit %s: %w", r.what, err)
		}
	}
	return nil
}

// drop gives up every right for good.
func (o *order) drop() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		// Fails without CAP_SETPCAP, and then no_new_privs is what keeps
		// capabilities from being gained.
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if o.UID != 0 {
		if err := o.become(); err != nil {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	// A change of user forgets it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask to die with the host: %w", err)
	}
	return nil
}

// become changes the user, of this thread alone: it is the one that executes, and
// the others end then.
func (o *order) become() error {
	uid := uintptr(o.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("leave the host's groups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("become group %d: %w", o.UID, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("become user %d: %w", o.UID, errno)
	}
	return nil
}

// hostLives closes the gap in which the host could die unnoticed: its end of the
// channel is open as long as it lives.
func hostLives() error {
	fds := []unix.PollFd{{Fd: channel, Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return fmt.Errorf("look for the host: %w", err)
	}
	if fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
		return errors.New("the host is gone")
	}
	return nil
}
