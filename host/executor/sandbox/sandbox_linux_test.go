package sandbox_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prisoner is the test binary as a confined program.
func prisoner(what string) {
	switch what {
	case "walls":
		say(tryTheWalls())
	case "look":
		say(look())
	case "limits":
		say(tryTheLimits())
	case "eat":
		for kept := [][]byte{}; ; {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "fork":
		for range 500 {
			if pid, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0); errno != 0 {
				os.Exit(3)
			} else if pid == 0 {
				for {
					_ = unix.Pause()
				}
			}
		}
	case "egress":
		say(tryTheWayOut())
	case "hello":
		say(map[string]any{"hello": "world"})
	}
}

func status(field string) string {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "?"
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	if err != nil && strings.Contains(err.Error(), "is a directory") {
		_, err = f.ReadDir(1)
	}
	return err
}

func writable(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }

func socket(domain, kind, proto int) error {
	fd, err := unix.Socket(domain, kind, proto)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func dial(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err
}

// call makes a system call by its number.
func call(nr uintptr, args ...uintptr) error {
	var a [3]uintptr
	copy(a[:], args)
	if _, _, errno := unix.RawSyscall(nr, a[0], a[1], a[2]); errno != 0 {
		return errno
	}
	return nil
}

func tryTheWalls() map[string]any {
	work := filepath.Dir(os.Getenv("HOME"))
	secret, _ := os.ReadFile(filepath.Join(work, "in", "where"))
	outside := string(secret)
	entries, _ := os.ReadDir("/")
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	var files []string // but for what Go's runtime opened
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			files = append(files, to)
		}
	}
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	x32 := uintptr(0x40000000)
	return map[string]any{
		"root": strings.Join(names, " "), "pid": os.Getpid(), "pids": len(pids), "fds": len(files),
		"caps": status("CapEff"), "could have": status("CapBnd"), "nnp": status("NoNewPrivs"), "seccomp": status("Seccomp"), "uid": os.Getuid(), "groups": status("Groups"),
		"write work": writable(work + "/x"), "write tmp": writable("/tmp/x"), "write home": writable(os.Getenv("HOME") + "/y"),
		"write in": writable(work + "/in/x"), "write usr": writable("/usr/x"), "write root": writable("/x"), "write etc": writable("/etc/x"),
		"write proc": writable("/proc/sys/kernel/hostname"), "write outside": writable(outside + "/x"),
		"read outside": readable(outside), "read shadow": readable("/etc/shadow"), "read home": readable("/root"), "read run": readable("/run"),
		"read usr": readable("/usr"), "read null": func() error { _, err := os.ReadFile("/dev/null"); return err }(),
		"chmod in": os.Chmod(work+"/in/where", 0o777), "device": unix.Mknod(work+"/dev", unix.S_IFBLK|0o600, 1<<8),
		"tcp": socket(unix.AF_INET, unix.SOCK_STREAM, 0), "tcp6": socket(unix.AF_INET6, unix.SOCK_STREAM, 0), "udp": socket(unix.AF_INET, unix.SOCK_DGRAM, 0),
		"mptcp": socket(unix.AF_INET, unix.SOCK_STREAM, 262), "packet": socket(unix.AF_PACKET, unix.SOCK_RAW, 0), "vsock": socket(40, unix.SOCK_STREAM, 0),
		"domain bits": call(unix.SYS_SOCKET, 1<<32|unix.AF_INET, unix.SOCK_STREAM, 0), "x32 socket": call(x32|unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0),
		"unix": socket(unix.AF_UNIX, unix.SOCK_STREAM, 0), "dial host": dial(outside + "/socket"), "dial abstract": dial("@" + filepath.Base(outside)),
		"unshare": unix.Unshare(unix.CLONE_NEWUSER), "mount": unix.Mount("x", "/tmp", "tmpfs", 0, ""), "chroot": unix.Chroot("/tmp"),
		"clone": call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)), "clone3": call(unix.SYS_CLONE3, 0, 0),
		"ptrace": unix.PtraceAttach(1), "bpf": call(unix.SYS_BPF, 0, 0, 0), "io_uring": call(unix.SYS_IO_URING_SETUP, 1, 0), "keyctl": call(unix.SYS_KEYCTL, 0, 0, 0),
		"kill host": unix.Kill(os.Getppid()|1<<22, 0), "pidns of init": readable("/proc/1/environ") == nil && os.Getpid() != 1,
		"host name": unix.Sethostname([]byte("x")), "vm": vmRead(), "setsid": setsid(),
	}
}

// setsid fails by itself for the leader of a group, as this process may be.
func setsid() error {
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		_, _, errno := unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(int(pid), &ws, 0, nil); err != nil {
		return err
	}
	if ws.ExitStatus() != 0 {
		return unix.Errno(ws.ExitStatus())
	}
	return nil
}

func vmRead() error {
	b := make([]byte, 1)
	local := []unix.Iovec{{Base: &b[0], Len: 1}}
	remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&b[0])), Len: 1}}
	_, err := unix.ProcessVMReadv(os.Getpid(), local, remote, 0)
	return err
}

func tryTheLimits() map[string]any {
	facts := map[string]any{}
	home := os.Getenv("HOME")
	facts["file"] = os.WriteFile(filepath.Dir(home)+"/big", make([]byte, 2<<20), 0o600)
	for i := range 10 {
		facts["tmp"] = os.WriteFile(home+"/f"+string(rune('a'+i)), make([]byte, 1<<20), 0o600)
	}
	var open []*os.File
	for range 300 {
		f, err := os.Open("/dev/null")
		facts["files"] = err
		open = append(open, f)
	}
	for _, f := range open {
		f.Close()
	}
	var core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	facts["core"] = core.Max
	return facts
}

// TestWalls: what must not be possible is not, and what must be is.
func TestWalls(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := newCell(t, "walls")
	outside := shared(t)
	listen(t, filepath.Join(outside, "socket"))
	listen(t, "@"+filepath.Base(outside))
	if err := os.WriteFile(filepath.Join(c.work, "in", "where"), []byte(outside), 0o644); err != nil {
		t.Fatal(err)
	}
	got := c.lock(t, s).facts(t)
	for what, want := range map[string][]string{
		"write work": {none}, "write tmp": {none}, "write home": {none}, "read usr": {none}, "read null": {none}, "unix": {none},
		"write in": {"read-only"}, "write usr": {"read-only", "denied"}, "write root": {"read-only", "denied"}, "write etc": {"read-only", "denied"},
		"write proc": {"read-only", "denied"}, "chmod in": {"read-only"}, "device": {"not permitted"},
		"write outside": {"no such file", "denied"}, "read outside": {"no such file"}, "read shadow": {"no such file"},
		"read home": {"no such file"}, "read run": {"no such file"},
		"tcp": {"not permitted"}, "tcp6": {"not permitted"}, "udp": {"not permitted"}, "mptcp": {"not permitted"}, "packet": {"not permitted"},
		"vsock": {"not permitted"}, "domain bits": {"not permitted"}, "x32 socket": {"not implemented"},
		"dial host": {"no such file"}, "dial abstract": {"refused", "not permitted"},
		"unshare": {"not permitted"}, "mount": {"not permitted"}, "chroot": {"not permitted"}, "clone": {"not permitted"}, "clone3": {"not implemented"},
		"ptrace": {"not permitted"}, "bpf": {"not permitted"}, "io_uring": {"not permitted"}, "keyctl": {"not permitted"}, "host name": {"not permitted"}, "vm": {"not permitted"},
		"pid": {"1"}, "pids": {"1"}, "fds": {"3"}, "caps": {"0000000000000000"}, "could have": {"0000000000000000"}, "nnp": {"1"}, "seccomp": {"2"}, "pidns of init": {"false"},
		"kill host": {"no such process"},
	} {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(got[what], w) }) {
			t.Errorf("%s: %q, want one of %q", what, got[what], want)
		}
	}
	if got["uid"] == "0" {
		t.Error("the prisoner is root")
	}
	if os.Geteuid() == 0 && got["groups"] != "" {
		t.Errorf("the prisoner is in the groups %q", got["groups"])
	}
	for name := range strings.FieldsSeq(got["root"]) {
		if !slices.Contains([]string{"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "sbin", "tmp", "usr"}, name) &&
			!strings.HasPrefix(c.work, "/"+name+"/") && !strings.HasPrefix(c.spec.Argv[0], "/"+name+"/") {
			t.Errorf("/%s is in sight", name)
		}
	}
	if _, err := os.Stat(filepath.Join(c.work, "x")); err != nil {
		t.Errorf("what it wrote to its directory: %v", err)
	}
	if left, err := os.ReadDir(c.spec.Tmp); err != nil || len(left) > 0 {
		t.Errorf("what it wrote to its home is still there: %v, %v", left, err)
	}
}

func listen(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(addr, "@") {
		if err := os.Chmod(addr, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { l.Close() })
}

func TestLimits(t *testing.T) {
	t.Parallel()
	got := newCell(t, "limits").lock(t, open(t)).facts(t)
	for what, want := range map[string]string{
		"file": "file too large", "tmp": "no space left", "files": "too many open files", "core": "0",
	} {
		if !strings.Contains(got[what], want) {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
}

// TestOutOfMemory: who eats memory dies of it, by the cgroup or by its rlimit.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := newCell(t, "eat")
	c.spec.Limits.Memory = 256 << 20
	began := time.Now()
	o := c.lock(t, s)
	if o.state.Success() {
		t.Errorf("it ended well: %v", o.state)
	}
	if byGroup := strings.Contains(s.Support().String(), "memory"); byGroup && o.exhausted != "out of memory: limit 256 MiB" {
		t.Errorf("exhausted: %q after %s", o.exhausted, time.Since(began))
	} else if !byGroup && !regexp.MustCompile("out of memory|allocate").MatchString(o.err) {
		t.Errorf("it said %.300q", o.err)
	}
}

func TestForkBomb(t *testing.T) {
	t.Parallel()
	s := open(t)
	o := newCell(t, "fork").lock(t, s)
	if o.state.ExitCode() != 3 {
		t.Errorf("%v %s, want a fork refused", o.state, o.err)
	}
	if s.Support().Has("pids_limit") && o.exhausted != "out of processes: limit 64" {
		t.Errorf("exhausted: %q", o.exhausted)
	}
}

// TestEnterSaysWhatIsWrong: nothing ran, and the reason is not an exit code.
func TestEnterSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := open(t)
	for name, change := range map[string]func(*cell){
		"no such file or directory": func(c *cell) { c.spec.Argv = []string{"/nonexistent/plugin"} },
		"permission denied":         func(c *cell) { c.spec.Argv = []string{filepath.Join(c.work, "tmp")} },
		"open /nonexistent/tree":    func(c *cell) { c.spec.Read = append(c.spec.Read, "/nonexistent/tree") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, "hello")
			change(&c)
			j, err := s.New(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			cmd, err := j.Command(nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			err = j.Enter(cmd.Process.Pid)
			_ = cmd.Wait()
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Enter: %v, want %q", err, name)
			}
		})
	}
}

// TestHostDies: a shim whose host is gone executes nothing.
func TestHostDies(t *testing.T) {
	t.Parallel()
	s := open(t)
	j, err := s.New(newCell(t, "hello").spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := j.Command(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j.Close() // its end of the channel with it
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.ExitStatus() != 125 {
		t.Errorf("the shim ended with %v, want 125", cmd.ProcessState)
	}
}

// TestSupport: the machine that runs the tests gives everything but, to a plain
// user, cgroups and other users.
func TestSupport(t *testing.T) {
	t.Parallel()
	s := open(t).Support()
	t.Logf("layers: %s; missing: %v", s, s.Missing)
	if err := s.Complete(); err != nil {
		t.Error(err)
	}
}
