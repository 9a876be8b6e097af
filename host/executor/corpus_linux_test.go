package executor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// box is the one sandbox of all tests. The test plugin is its shim: the tests,
// built to find races, take ten times as long to start.
var box = sync.OnceValue(func() *sandbox.Sandbox {
	boxed = sandbox.Open(hostile(), hclog.NewNullLogger())
	return boxed
})

var boxed *sandbox.Sandbox

func closeSandbox() {
	if boxed != nil {
		boxed.Close()
	}
}

// confined runs the plugin in the sandbox, with little of everything.
func confined(c *executor.Config) {
	c.Sandbox = box()
	p := &c.Plugins[0]
	p.Sandbox, p.Disk = executor.Required, 8<<20
	p.Limits = sandbox.Limits{Memory: 256 << 20, PIDs: 64, OpenFiles: 128, FileSize: 4 << 20}
}

// misbehaviour is one way to go wrong, and what becomes of it.
type misbehaviour struct {
	code  host.ErrorCode // "": the scan ends well all the same
	state host.State     // then
	words []string
	brief bool // what must not last: MaxSilence is short
}

const (
	unavailable = host.CodePluginUnavailable
	crashed     = host.CodePluginCrashed
	protocol    = host.CodePluginProtocol
	hung        = host.CodePluginHung
)

// corpus is what plugins do to a host, each on its own.
var corpus = map[string]misbehaviour{
	// crash at each stage
	"panic-at-start":       {code: unavailable, words: []string{"panic: boom"}},
	"exit-at-start":        {code: unavailable, words: []string{"exited with status 3 before the handshake"}},
	"orphan-at-start":      {code: unavailable, words: []string{"exited with status 4"}},
	"describe-crash":       {code: unavailable, words: []string{"exited with status 5 before it answered Describe"}},
	"configure-crash":      {code: unavailable, words: []string{"exited with status 10 before it answered Configure"}},
	"panic-in-scan":        {code: crashed, words: []string{"panic: boom in scan"}},
	"crash-after-findings": {code: crashed, words: []string{"exited with status 12"}},
	"crash-with-children":  {code: crashed, words: []string{"exited with status 9"}},
	"exit-after-completed": {state: host.StateSucceeded},
	// hang at each stage
	"silent-start":         {code: unavailable, words: []string{"no handshake within 1s"}, brief: true},
	"describe-hang":        {code: unavailable, words: []string{"did not answer Describe within 5s"}},
	"configure-hang":       {code: unavailable, words: []string{"did not answer Configure within 10s"}},
	"hang":                 {code: hung, words: []string{"said nothing for 1s"}, brief: true},
	"hang-after-findings":  {code: hung, words: []string{"said nothing for 1s"}, brief: true},
	"hang-after-completed": {state: host.StateSucceeded},
	// flood each channel
	"megabyte-on-stdout": {code: unavailable, words: []string{"4096 bytes without a line end"}},
	"flood-stdout":       {state: host.StateSucceeded},
	"flood-stderr":       {state: host.StateSucceeded},
	"flood-findings":     {state: host.StatePartial, words: []string{"the first 1000 are kept"}},
	"flood-progress":     {state: host.StateSucceeded},
	"flood-logs":         {state: host.StateSucceeded},
	"flood-diagnostics":  {state: host.StateSucceeded},
	"oversized":          {code: protocol, words: []string{"over the limit"}},
	// lie
	"tcp-handshake":       {code: unavailable, words: []string{`"tcp" address`}},
	"foreign-handshake":   {code: unavailable, words: []string{"not in PLUGIN_UNIX_SOCKET_DIR"}},
	"link-handshake":      {code: unavailable, words: []string{"socket"}},
	"describe-other-name": {code: unavailable, words: []string{"somebody-else"}},
	"miscount":            {code: protocol, words: []string{"says it sent 7 findings"}},
	"bad-utf8":            {code: protocol, words: []string{"malformed"}},
	"double-completed":    {code: protocol, words: []string{"after Completed"}},
	// leave something behind
	"daemonise":          {state: host.StateSucceeded},
	"leave-session":      {code: hung, words: []string{"said nothing"}, brief: true},
	"shut-own-directory": {state: host.StateSucceeded},
	// use up the machine
	"eat-memory": {code: crashed, words: []string{"out of memory: limit 256 MiB"}},
	"eat-disk":   {code: crashed, words: []string{"out of disk: limit 8 MiB"}},
	"eat-files":  {code: crashed, words: []string{"out of open files: limit 128"}},
	"fork-bomb":  {code: crashed, words: []string{"out of processes: limit 64"}},
	"eat-cpu":    {code: hung, words: []string{"said nothing for 1s"}, brief: true},
}

// TestCorpus: whatever a plugin does, the reason is right, nothing is left, and
// a good plugin's scans beside it end well.
func TestCorpus(t *testing.T) {
	t.Parallel()
	good := newBench(t, "ok", confined, standby(1))
	t.Run("each", func(t *testing.T) {
		for mode, want := range corpus {
			t.Run(mode, func(t *testing.T) {
				t.Parallel()
				var beside sync.WaitGroup
				defer beside.Wait()
				beside.Go(func() {
					if rep, found, err := good.run(t); err != nil || rep.State != host.StateSucceeded || len(found) != 1 {
						t.Errorf("the good plugin beside: %+v, %d findings, %v", rep, len(found), err)
					}
				})
				want.check(t, mode)
			})
		}
	})
}

func (want misbehaviour) check(t *testing.T, mode string) {
	b := newBench(t, mode, confined, plugin(func(p *executor.Plugin) {
		p.MaxFindings = 1000
		if want.brief {
			p.MaxSilence = time.Second
		}
		if mode == "silent-start" {
			p.StartTimeout = time.Second
		}
	}))
	rep, _, err := b.run(t)
	if want.code == "" {
		if err != nil || rep.State != want.state {
			t.Errorf("Run: %+v, %v; want %s", rep, err, want.state)
		}
		for _, w := range want.words {
			if !strings.Contains(rep.Reason, w) {
				t.Errorf("reason %q does not say %q", rep.Reason, w)
			}
		}
	} else {
		if f := wantFault(t, err, want.code, faultRetryable(err), want.words...); strings.Contains(f.Message, "EOF") {
			t.Errorf("message %q speaks of EOF", f.Message)
		}
	}
	b.wantNothingLeft(t)
}

// faultRetryable is whatever the fault says: TestFaults knows what is right.
func faultRetryable(err error) bool {
	f, ok := err.(*host.Fault) //nolint:errorlint // Run returns it as it is
	return ok && f.Retryable
}

// TestEscape: a plugin that tries everything reaches nothing.
func TestEscape(t *testing.T) {
	t.Parallel()
	b := newBench(t, "escape", confined)
	o, touched := anOutside(t)
	testEscape(t, b, o, touched)
}

// TestEscapeFromBeside: nor does it when it lives in a directory that holds the
// host's data.
func TestEscapeFromBeside(t *testing.T) {
	t.Parallel()
	o, touched := anOutside(t)
	b := newBench(t, "escape", confined, plugin(func(p *executor.Plugin) { p.Read = []string{filepath.Dir(o.Dir)} }),
		func(c *executor.Config) { c.Hide, c.RunDir = []string{o.Dir}, filepath.Join(o.Dir, "run") })
	testEscape(t, b, o, touched)
}

func testEscape(t *testing.T, b *bench, o outside, touched func() bool) {
	t.Helper()
	task := b.task(t, "")
	task.Options, _ = json.Marshal(o)
	s := &sink{}
	if _, err := b.Run(t.Context(), task, s); err != nil {
		t.Fatal(err)
	}
	got := confession(s)
	absent, refused := "no such file", "not permitted"
	for what, want := range map[string][]string{
		"write-outside": {absent, "read-only"}, "change-outside": {absent, "read-only"}, "read-outside": {absent}, "read-shadow": {absent}, "read-database": {absent},
		"read-other-tree": {absent}, "list-other-trees": {absent}, "write-tree": {"read-only", "denied"}, "write-itself": {"read-only", "denied", "busy"}, "link-outside": {absent},
		"tcp": {refused}, "udp": {refused}, "mptcp": {refused}, "unix": {absent}, "abstract-unix": {"refused", refused},
		"proc-environ": {absent}, "proc-of-others": {"true alone"}, "ptrace-host": {refused}, "signal-host": {"no such process"}, "signal-all": {"no such process"},
		"become-root": {refused, "invalid argument"}, "unshare": {refused}, "mount": {refused},
	} {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(got[what], w) }) {
			t.Errorf("%s: %q, want one of %q", what, got[what], want)
		}
	}
	if touched() {
		t.Error("somebody outside was spoken to")
	}
	if text, err := os.ReadFile(filepath.Join(o.Dir, "secret")); err != nil || string(text) != "secret" {
		t.Errorf("the secret outside: %q, %v", text, err)
	}
}

// outside is what the test plugin is told of the world; see its type of that name.
type outside struct {
	Dir, Tree, Unix, TCP, UDP string
	PID                       int
}

// anOutside makes a world outside; touched says whether a socket in it heard
// from anybody.
func anOutside(t *testing.T) (o outside, touched func() bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as a directory with programs is
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "o")
	o = outside{Dir: dir, Tree: filepath.Join(dir, "trees", "other"), Unix: filepath.Join(dir, "socket"), PID: os.Getpid()}
	if err := os.MkdirAll(o.Tree, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secret", "securetag.db", "trees/other/file"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o666); err != nil { //nolint:gosec // that it may be read is the point
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Join(dir, "trees"), o.Tree} {
		if err := os.Chmod(d, 0o777); err != nil { //nolint:gosec // likewise
			t.Fatal(err)
		}
	}
	var heard atomic.Bool
	accept := func(network, addr string) string {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				heard.Store(true)
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		return l.Addr().String()
	}
	accept("unix", o.Unix)
	accept("unix", "@"+o.Unix)
	o.TCP = accept("tcp", "127.0.0.1:0")
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	o.UDP = u.LocalAddr().String()
	return o, func() bool {
		_ = u.SetReadDeadline(time.Now())
		if n, _, err := u.ReadFrom(make([]byte, 16)); err == nil && n > 0 {
			return true
		}
		return heard.Load()
	}
}

// confession reads the findings in which the test plugin says what happened.
func confession(s *sink) map[string]string {
	facts := map[string]string{}
	for _, f := range s.all() {
		name, what, _ := strings.Cut(f.Message, "=")
		facts[name] = what
	}
	return facts
}

// TestTreeComesToTheProcess: a process gets the tree of its job; one that waited by
// a move, by a copy, or because it saw it all along; one that is started for the job
// sees it where it is. Read-only.
func TestTreeComesToTheProcess(t *testing.T) {
	t.Parallel()
	tree := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "tree")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of this job"), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	run := func(t *testing.T, b *bench, task host.Task) {
		t.Helper()
		s := &sink{}
		if _, err := b.Run(t.Context(), task, s); err != nil {
			t.Fatal(err)
		}
		got := confession(s)
		if got["text"] != "of this job" || got["err"] != "<nil>" || got["work"] != "<nil>" || !strings.Contains(got["write"], "read-only") && !strings.Contains(got["write"], "denied") {
			t.Errorf("the plugin says %v", got)
		}
	}
	t.Run("moved", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "read-tree", confined, standby(1))
		eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
		task := b.task(t, "")
		task.Root = tree(t)
		moved := ""
		task.Give = func(dst string) (func(), error) {
			moved = dst
			return func() { moved += " and gone" }, os.Rename(task.Root, dst)
		}
		run(t, b, task)
		if !strings.HasSuffix(moved, "and gone") {
			t.Errorf("it was moved to %q, want it taken away again", moved)
		}
	})
	t.Run("on another file system", func(t *testing.T) {
		t.Parallel()
		other, err := os.MkdirTemp("/dev/shm", "st")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(other) })
		b := newBench(t, "read-tree", confined, standby(1), func(c *executor.Config) { c.SlotDirs = []string{filepath.Join(other, "slots")} })
		task := b.task(t, "")
		task.Root = filepath.Join(other, "tree")
		if err := os.CopyFS(task.Root, os.DirFS(tree(t))); err != nil {
			t.Fatal(err)
		}
		task.Give = func(dst string) (func(), error) { return func() {}, os.Rename(task.Root, dst) }
		run(t, b, task)
		b.stopped(t)
		eventually(t, "no slot but the next standby's", func() bool {
			left, err := os.ReadDir(filepath.Join(other, "slots"))
			return err == nil && len(left) <= 1
		})
	})
	t.Run("copied", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "read-tree", confined, standby(1))
		eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
		task := b.task(t, "")
		task.Root = tree(t)
		run(t, b, task)
		if _, err := os.Stat(filepath.Join(task.Root, "file")); err != nil {
			t.Errorf("the original: %v", err)
		}
	})
	t.Run("in place", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "read-tree", confined)
		task := b.task(t, "")
		task.Root = tree(t)
		task.Give = notAsked
		run(t, b, task)
	})
	t.Run("in place, and no other", func(t *testing.T) {
		t.Parallel()
		o, _ := anOutside(t)
		b := newBench(t, "escape", confined, func(c *executor.Config) { c.Hide = []string{o.Dir} })
		task, s := b.task(t, ""), &sink{}
		task.Root, task.Give = filepath.Join(o.Dir, "trees", "mine"), notAsked
		task.Options, _ = json.Marshal(o)
		if err := os.Mkdir(task.Root, 0o755); err != nil { //nolint:gosec // the plugin is another user
			t.Fatal(err)
		}
		if _, err := b.Run(t.Context(), task, s); err != nil {
			t.Fatal(err)
		}
		got := confession(s)
		if !strings.Contains(got["read-other-tree"], "no such file") || got["list-other-trees"] != "[mine]" {
			t.Errorf("beside its own tree it sees %s and reads %s", got["list-other-trees"], got["read-other-tree"])
		}
	})
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		root := tree(t)
		b := newBench(t, "read-tree", confined, shared, func(c *executor.Config) { c.TreeDirs = []string{filepath.Dir(root)} })
		for range 2 {
			task := b.task(t, "")
			task.Root = root
			task.Give = notAsked
			run(t, b, task)
		}
	})
}

// notAsked is how a tree is given that is in sight.
func notAsked(string) (func(), error) { return nil, errors.New("asked to move what is in sight") }

// stopped waits until no run is left.
func (b *bench) stopped(t *testing.T) {
	t.Helper()
	eventually(t, "no run", func() bool { return b.status().Running == 0 })
}

// TestRequired: where the machine cannot confine a plugin, required refuses it
// with what is missing and what to do, and best_effort does not.
func TestRequired(t *testing.T) {
	t.Parallel()
	none := func(how executor.Confinement) func(*executor.Config) {
		return func(c *executor.Config) {
			c.Sandbox = sandbox.Open("", hclog.NewNullLogger())
			c.Plugins[0].Sandbox = how
		}
	}
	_, _, err := newBench(t, "ok", none(executor.Required)).run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, "no network", "does not hold", "best_effort")
	if rep, _, err := newBench(t, "ok", none(executor.Unconfined)).run(t); err != nil || rep.State != host.StateSucceeded {
		t.Errorf("off: %+v, %v", rep, err)
	}
	b := newBench(t, "ok", confined)
	if got := b.status().Containment; !strings.Contains(got, "sandbox: root,pids,network") {
		t.Errorf("containment %q", got)
	}
}

// TestCorpusAsUser runs the sandboxed tests once more without the rights of root.
func TestCorpusAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // then they run so already
	}
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // for another user
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tests")
	copyProgram(t, os.Args[0], program)
	cmd := exec.Command(program, "-test.run=^(TestCorpus|TestEscape|TestTreeComesToTheProcess|TestRequired|TestEgress)$", "-test.v", "-test.timeout=3m")
	cmd.Dir, cmd.Env = dir, []string{asUser + "=" + hostile(), "TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestCorpus")) || !bytes.Contains(out, []byte("--- PASS: TestEscape")) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755) //nolint:gosec // for another user
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
