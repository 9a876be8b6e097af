package sandbox

import (
	"os"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// landlockABI is what the kernel has, 0 for none.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// landlock allows what the root shows, or would show if there were one, no TCP
// but to the way out, and no signal or abstract socket to outside. It does not
// cover MPTCP, UDP and sockets with a path: see loadFilter.
func (o *order) landlock() error {
	write := slices.Clone(o.Spec.Write)
	read := []string{"/"}
	if o.Root {
		write = append(write, "/tmp", "/dev/shm", o.Spec.Tmp)
	} else {
		read = slices.Concat(o.unhidden(), systemDirs, etcFiles)
		if o.Spec.Network {
			read = append(read, networkFiles...)
		}
	}
	var dirs, files []string
	for _, p := range read {
		info, err := os.Stat(p)
		switch {
		case err != nil: // then it is not there to be read
		case info.IsDir():
			dirs = append(dirs, p)
		default:
			files = append(files, p)
		}
	}
	rw := landlock.RWDirs(write...)
	if o.Landlock >= 2 {
		rw = rw.WithRefer()
	}
	rules := []landlock.Rule{
		landlock.RODirs(dirs...), landlock.ROFiles(files...), rw, landlock.RWFiles(devices...).IgnoreIfMissing(),
	}
	cfg := landlock.V7.BestEffort()
	if o.Spec.Network {
		cfg.HandledAccessNet = 0
	}
	if o.Spec.Egress {
		rules = append(rules, landlock.ConnectTCP(egressPort))
	}
	set, flags, err := cfg.NewRulesetFD(rules...)
	if err != nil || set < 0 {
		return err
	}
	defer func() { _ = unix.Close(set) }()
	// This thread alone, which is the one that executes. To find the others takes
	// a /proc of this pid namespace, which there need not be.
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), uintptr(flags), 0); errno != 0 {
		return os.NewSyscallError("landlock_restrict_self", errno)
	}
	return nil
}

// unhidden is Read without what lies above something hidden, which Landlock
// cannot take out of it. The program itself stays.
func (o *order) unhidden() []string {
	read := slices.DeleteFunc(slices.Clone(o.Spec.Read), func(p string) bool {
		return slices.ContainsFunc(o.Spec.Hide, func(h string) bool { return h == p || within(h, p) })
	})
	if len(read) < len(o.Spec.Read) {
		read = append(read, o.Spec.Argv[0])
	}
	return read
}
