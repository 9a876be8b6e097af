package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// Refusal is something that a machine does not give.
type Refusal string

const (
	Namespaces    Refusal = "namespaces"     // as containers refuse them, and hardened kernels
	NamespacesOut Refusal = "namespaces-out" // as user.max_user_namespaces = 0 refuses them
	Mounts        Refusal = "mounts"         // though there are namespaces
	Landlock      Refusal = "landlock"       // as kernels without it
	Seccomp       Refusal = "seccomp"        // as kernels without it
	Proc          Refusal = "proc"           // a /proc of its own, as containers that mask theirs
	Memfd         Refusal = "memfd"          // memory that is a file
)

const key = "SANDBOXTEST_REFUSED"

// Refuse has cmd run on a machine without these. Its program calls Main.
func Refuse(cmd *exec.Cmd, refusals ...Refusal) {
	var names []string
	for _, r := range refusals {
		names = append(names, string(r))
	}
	cmd.Env = append(cmd.Environ(), key+"="+strings.Join(names, ","))
}

// Main executes this program again, refused what Refuse said; where that said
// nothing it does nothing.
func Main() {
	names, ok := os.LookupEnv(key)
	if !ok {
		return
	}
	runtime.LockOSThread() // the filter is this thread's, and it executes
	err := os.Unsetenv(key)
	if err == nil {
		err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Policy: policy(strings.Split(names, ","))})
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "make the machine poorer:", err)
	os.Exit(125)
}

func policy(names []string) seccomp.Policy {
	p := seccomp.Policy{DefaultAction: seccomp.ActionAllow}
	refuse := func(errno unix.Errno, calls ...string) *seccomp.SyscallGroup {
		p.Syscalls = append(p.Syscalls, seccomp.SyscallGroup{Names: calls, Action: seccomp.ActionErrno | seccomp.Action(errno)})
		return &p.Syscalls[len(p.Syscalls)-1]
	}
	const flags = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	for _, name := range names {
		switch Refusal(name) {
		case Namespaces, NamespacesOut:
			errno := unix.EPERM
			if Refusal(name) == NamespacesOut {
				errno = unix.ENOSPC
			}
			refuse(errno, "unshare").NamesWithCondtions = []seccomp.NameWithConditions{{
				Name: "clone", Conditions: []seccomp.Condition{{Argument: 0, Operation: seccomp.BitsSet, Value: flags}},
			}}
		case Mounts:
			refuse(unix.EPERM, "mount", "move_mount", "open_tree", "pivot_root")
		case Proc:
			const readOnly = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY // and nothing else is mounted so
			refuse(unix.EPERM).NamesWithCondtions = []seccomp.NameWithConditions{{
				Name: "mount", Conditions: []seccomp.Condition{{Argument: 3, Operation: seccomp.Equal, Value: readOnly}},
			}}
		case Memfd:
			refuse(unix.ENOSYS, "memfd_create")
		case Landlock:
			refuse(unix.ENOSYS, "landlock_create_ruleset")
		case Seccomp:
			refuse(unix.EINVAL, "seccomp")
		default:
			panic("sandboxtest: refuse " + name + "?")
		}
	}
	return p
}
