package sandbox

import (
	"fmt"
	"os"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// denied system calls are of no use to a scanner and of much to one who wants out.
// Those an architecture does not have are left out there.
var denied = []string{ //nolint:gochecknoglobals // a table, never written
	// other processes
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	// namespaces and mounts
	"unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen",
	"fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at", "quotactl", "quotactl_fd",
	// parts of the kernel in which holes are found
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
	"request_key", "fanotify_init", "modify_ldt", "vm86", "vm86old", "uselib", "nfsservctl", "lookup_dcookie", "_sysctl", "sysfs", "ustat",
	// the machine
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms",
	"query_module", "reboot", "swapon", "swapoff", "acct", "syslog", "vhangup", "iopl", "ioperm", "sethostname", "setdomainname",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
}

const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

const ipprotoMPTCP = 262

func enosys() seccomp.Action { return seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)) }

// policy is the list as conditions. A comparison is of 64 bits where the kernel
// looks at 32 of them, so what must be is asked for by "not equal" and what must
// not be by bits: a value with other upper bits is refused then.
func policy(network, egress, noRoot, noPIDs bool) seccomp.Policy {
	deny := seccomp.SyscallGroup{Action: seccomp.Action(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)), Names: slices.Clone(denied)}
	when := func(name string, conditions ...seccomp.Condition) {
		deny.NamesWithCondtions = append(deny.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: conditions})
	}
	not := func(arg uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: arg, Operation: seccomp.NotEqual, Value: value}
	}
	when("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: newNamespaces})
	if network || egress { // in a namespace of its own, the second
		when("socket", not(0, unix.AF_UNIX), not(0, unix.AF_INET), not(0, unix.AF_INET6), not(0, unix.AF_NETLINK))
		when("socket", seccomp.Condition{Argument: 2, Operation: seccomp.BitsSet, Value: ipprotoMPTCP &^ 0xff})
	} else {
		when("socket", not(0, unix.AF_UNIX))
	}
	if noPIDs {
		// What it starts is found by its process group.
		deny.Names = append(deny.Names, "setsid", "setpgid")
	}
	if noRoot && !network {
		// The host's sockets are in sight, and no other layer is about these. It
		// serves one, and needs no other.
		deny.Names = append(deny.Names, "connect")
		when("socket", seccomp.Condition{Argument: 1, Operation: seccomp.BitsSet, Value: 0xe})
	}
	// clone3 has its flags in memory, where no filter sees them. Libraries fall
	// back to clone when it does not exist.
	return seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{
		{Action: enosys(), Names: []string{"clone3"}}, deny,
	}}
}

// loadFilter puts the filter on this thread, which is the one that executes.
func loadFilter(network, egress, noRoot, noPIDs bool) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	p := policy(network, egress, noRoot, noPIDs)
	for i := range p.Syscalls {
		p.Syscalls[i].Names = slices.DeleteFunc(p.Syscalls[i].Names, func(name string) bool {
			_, ok := info.SyscallNames[name]
			return !ok
		})
	}
	program, err := p.Assemble()
	if err != nil {
		return fmt.Errorf("assemble the filter: %w", err)
	}
	// The library lets calls of another architecture pass, and on amd64 every
	// process can make 32-bit ones.
	program = append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(enosys())},
	}, program...)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble the filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
