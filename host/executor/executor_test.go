package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok")
	task, s := b.task(t, ""), &sink{}
	rep, err := b.Run(t.Context(), task, s)
	if err != nil || rep != (host.Report{State: host.StateSucceeded}) {
		t.Fatalf("Run: %+v, %v; want succeeded", rep, err)
	}
	if pids := b.processes(); len(pids) > 0 {
		t.Errorf("processes after a per_scan run: %v", pids)
	}
	want := []host.Finding{{
		ScanID: task.Scan, JobID: task.Job, Plugin: "hostile", RuleID: "hostile.rule", Title: "A hostile finding",
		Message: "found it", Severity: host.SeverityHigh, Confidence: host.ConfidenceUnknown,
		Location: host.Location{Path: "a/b.go", StartLine: 3, StartColumn: 1}, Snippet: "x := 1",
		CWE: []int{79}, Tags: []string{"test"}, References: []string{"https://example.com/rule"},
	}}
	if diff := cmp.Diff(want, s.all(), cmpopts.IgnoreFields(host.Finding{}, "ID", "Fingerprint", "Content", "CreatedAt")); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if f := s.all()[0]; f.ID == "" || !strings.HasPrefix(f.Fingerprint, "v1:") || f.CreatedAt.IsZero() {
		t.Errorf("finding without id, fingerprint or time: %+v", f)
	}
	if diff := cmp.Diff([]host.Progress{{Phase: "matching", Done: 1, Total: 2, Unit: "files"}}, s.progress); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if log := b.logs.String(); !strings.Contains(log, "looking[2J around") || strings.Contains(log, "\x1b") {
		t.Errorf("the plugin's log is missing or unclean:\n%s", log)
	}
}

func TestRunEndings(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]host.Report{
		"partial":              {State: host.StatePartial, Reason: "part of the target was not scanned: 3 files were unreadable"},
		"failed":               {State: host.StateFailed, Reason: "database missing", Retryable: true},
		"exit-after-completed": {State: host.StateSucceeded},
		"hang-after-completed": {State: host.StateSucceeded},
		"json-on-stderr":       {State: host.StateSucceeded},
		"flood-stdout":         {State: host.StateSucceeded},
		"flood-stderr":         {State: host.StateSucceeded},
		"slow-start":           {State: host.StateSucceeded},
		"shut-own-directory":   {State: host.StateSucceeded},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, mode)
			rep, found, err := b.run(t)
			if err != nil || rep != want {
				t.Fatalf("Run: %+v, %v; want %+v", rep, err, want)
			}
			if wantFound := want.State != host.StateFailed; (len(found) == 1) != wantFound {
				t.Errorf("%d findings kept", len(found))
			}
			b.wantNothingLeft(t)
		})
	}
}

// TestFaults runs every way to break the contract, with and without a pid
// namespace: the fault says what happened and nothing is left behind.
func TestFaults(t *testing.T) {
	t.Parallel()
	const (
		unavailable = host.CodePluginUnavailable
		crashed     = host.CodePluginCrashed
		protocol    = host.CodePluginProtocol
	)
	for mode, want := range map[string]struct {
		code      host.ErrorCode
		retryable bool
		words     []string
	}{
		"panic-at-start":           {unavailable, true, []string{"exited with status 2 before the handshake: panic: boom"}},
		"exit-at-start":            {unavailable, true, []string{`exited with status 3 before the handshake: no licence [31mfound\u202e`}},
		"orphan-at-start":          {unavailable, true, []string{"exited with status 4 before the handshake"}},
		"silent-start":             {unavailable, true, []string{"no handshake within 1s", "waiting for the database"}},
		"megabyte-on-stdout":       {unavailable, true, []string{"4096 bytes without a line end"}},
		"banner-on-stdout":         {unavailable, true, []string{"no handshake", "Welcome to hostile 1.0"}},
		"tcp-handshake":            {unavailable, true, []string{`"tcp" address`}},
		"cert-handshake":           {unavailable, true, []string{"certificate"}},
		"escaping-handshake":       {unavailable, true, []string{"not in PLUGIN_UNIX_SOCKET_DIR"}},
		"foreign-handshake":        {unavailable, true, []string{"/var/run/docker.sock", "not in PLUGIN_UNIX_SOCKET_DIR"}},
		"link-handshake":           {unavailable, true, []string{"handshake", "socket"}},
		"deaf-socket":              {unavailable, true, []string{"no handshake within 1s"}},
		"describe-other-name":      {unavailable, true, []string{`calls itself "somebody-else"`}},
		"describe-old-api":         {unavailable, true, []string{"API versions"}},
		"describe-twins":           {unavailable, true, []string{`"hostile.rule" twice`}},
		"describe-hang":            {unavailable, true, []string{"did not answer Describe within 5s"}},
		"describe-crash":           {unavailable, true, []string{"exited with status 5 before it answered Describe"}},
		"configure-refuse":         {unavailable, true, []string{"limits.max: must be a size. Write 1MiB."}},
		"refuse":                   {host.CodePluginRefused, false, []string{"refused the scan: no such option"}},
		"busy":                     {unavailable, true, []string{"too many scans"}},
		"unavailable":              {unavailable, true, []string{"draining"}},
		"grpc-error":               {protocol, true, []string{"gRPC error Unknown instead of Completed"}},
		"no-completed":             {protocol, true, []string{"without Completed"}},
		"panic-in-scan":            {crashed, true, []string{"exited with status 2", "panic: boom in scan"}},
		"exit-zero":                {crashed, true, []string{"exited with status 0 before it completed the scan"}},
		"sigkill-self":             {crashed, true, []string{"exited"}}, // a namespace's first process cannot: see TestKilledFromOutside
		"crash-with-children":      {crashed, true, []string{"exited with status 9"}},
		"hang":                     {host.CodePluginHung, true, []string{"said nothing for 1s"}},
		"leave-children":           {host.CodePluginHung, true, []string{"said nothing"}},
		"leave-session":            {host.CodePluginHung, true, []string{"said nothing"}},
		"bad-utf8":                 {protocol, false, []string{"malformed", "UTF-8"}},
		"oversized":                {protocol, false, []string{"over the limit"}},
		"miscount":                 {protocol, true, []string{"says it sent 7 findings, and 1 arrived"}},
		"unknown-status":           {protocol, false, []string{"unknown status 42"}},
		"no-status":                {protocol, false, []string{"unknown status 0"}},
		"applicable-after-all":     {protocol, false, []string{"found 1 problems", "looks at nothing"}},
		"says-cancelled":           {protocol, true, []string{"nobody asked"}},
		"double-completed":         {protocol, false, []string{"after Completed"}},
		"progress-after-completed": {protocol, false, []string{"after Completed"}},
		"error-after-completed":    {protocol, true, []string{"changed my mind"}},
	} {
		for name, contain := range map[string]func(*executor.Config){"namespace": func(*executor.Config) {}, "group": noNamespace} {
			if mode == "sigkill-self" && name == "namespace" {
				continue // the kernel ignores it
			}
			t.Run(mode+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, mode, contain, plugin(func(p *executor.Plugin) {
					switch {
					case strings.HasPrefix(mode, "silent"), strings.HasPrefix(mode, "deaf"):
						p.StartTimeout = time.Second
					case mode == "hang", strings.HasPrefix(mode, "leave"):
						p.MaxSilence = time.Second
					}
				}))
				words := want.words
				if mode == "sigkill-self" {
					words = []string{"killed by signal 9", "possibly out of memory"}
				}
				rep, found, err := b.run(t)
				f := wantFault(t, err, want.code, want.retryable, words...)
				if f.Crashed != (want.code == crashed) {
					t.Errorf("crashed %t with %s", f.Crashed, f.Code)
				}
				if rep != (host.Report{}) || len(found) > 0 {
					t.Errorf("report %+v and %d findings beside a fault", rep, len(found))
				}
				if pids := b.processes(); len(pids) > 0 {
					t.Errorf("processes after Run: %v", pids)
				}
			})
		}
	}
}

func TestKilledFromOutside(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGSTOP": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "hang", plugin(func(p *executor.Plugin) { p.MaxSilence = 2 * time.Second }))
			task := b.task(t, "")
			result := make(chan error, 1)
			go func() {
				_, err := b.Run(t.Context(), task, &sink{})
				result <- err
			}()
			waitScanning(t, task)
			for _, pid := range b.processes() {
				if err := syscall.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-result; sig == syscall.SIGKILL {
				wantFault(t, err, host.CodePluginCrashed, true, "killed by signal 9", "possibly out of memory")
			} else {
				wantFault(t, err, host.CodePluginHung, true, "said nothing for 2s")
			}
			b.wantNothingLeft(t)
		})
	}
}

func waitScanning(t *testing.T, task host.Task) {
	t.Helper()
	eventually(t, "the plugin scans", func() bool {
		_, err := os.Stat(filepath.Join(task.WorkDir, "scanning"))
		return err == nil
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "wait-for-context", "leave-session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, mode)
			task := b.task(t, "")
			cause := errors.New("the tenant canceled the scan")
			ctx, cancel := context.WithCancelCause(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := b.Run(ctx, task, &sink{})
				result <- err
			}()
			waitScanning(t, task)
			cancel(cause)
			if err := <-result; err != cause { //nolint:errorlint // the cause itself, as the port says
				t.Errorf("Run: %v, want the cause", err)
			}
			b.wantNothingLeft(t)
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, "hang")
	cause := errors.New("over its deadline")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
	defer cancel()
	if _, err := b.Run(ctx, b.task(t, ""), &sink{}); err != cause { //nolint:errorlint // the cause itself, as the port says
		t.Errorf("Run: %v, want the cause", err)
	}
	b.wantNothingLeft(t)
}

func TestOverflowIsPartial(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*executor.Plugin)
		reason string
		kept   int
	}{
		"count": {func(p *executor.Plugin) { p.MaxFindings = 1234 }, "more than 1234 problems: the first 1234 are kept", 1234},
		"bytes": {func(p *executor.Plugin) { p.MaxFindingsBytes = 1 }, "over 1 bytes: the first 0 findings are kept", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "flood-findings", plugin(tc.change))
			rep, found, err := b.run(t)
			if err != nil || rep.State != host.StatePartial || !strings.Contains(rep.Reason, tc.reason) {
				t.Errorf("Run: %+v, %v; want partial, %q", rep, err, tc.reason)
			}
			if len(found) != tc.kept {
				t.Errorf("%d findings kept, want %d", len(found), tc.kept)
			}
			b.wantNothingLeft(t)
		})
	}
}

func TestNastyTextIsCleaned(t *testing.T) {
	t.Parallel()
	b := newBench(t, "nasty-text")
	_, found, err := b.run(t)
	if err != nil || len(found) != 1 {
		t.Fatalf("Run: %d findings, %v", len(found), err)
	}
	f := found[0]
	if want := "a\ufffdb[31mc\\u202ed\ne"; f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
	if want := `\u2066if admin\u2069`; f.Snippet != want {
		t.Errorf("snippet %q, want %q", f.Snippet, want)
	}
	if want := "dir/\u00e9\\x0a.go"; f.Location.Path != want {
		t.Errorf("path %q, want %q", f.Location.Path, want)
	}
	if want := "{\"k\ufffd\":\"v\"}"; string(f.Properties) != want {
		t.Errorf("properties %s, want %s", f.Properties, want)
	}
}

func TestSinkFailureStopsThePlugin(t *testing.T) {
	t.Parallel()
	b := newBench(t, "flood-findings")
	_, err := b.Run(t.Context(), b.task(t, ""), &sink{err: host.ErrLeaseLost})
	wantFault(t, err, host.CodeInternal, true, "could not be kept")
	if !errors.Is(err, host.ErrLeaseLost) {
		t.Errorf("error %v does not wrap the sink's", err)
	}
	b.wantNothingLeft(t)
}

func TestWrongInput(t *testing.T) {
	t.Parallel()
	b := newBench(t, "ok")
	task := b.task(t, "")
	task.Root, task.URL = "", "https://example.com/"
	_, err := b.Run(t.Context(), task, &sink{})
	wantFault(t, err, host.CodePluginRefused, false, `"url"`)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "do not tell") // so not parallel
	b := newBench(t, "environment", plugin(func(p *executor.Plugin) {
		p.Env = map[string]string{"LANG": "C", "HOME": "/nowhere"}
	}))
	_, found, err := b.run(t)
	if err != nil || len(found) != 1 {
		t.Fatalf("Run: %d findings, %v", len(found), err)
	}
	got := map[string]string{}
	for line := range strings.SplitSeq(found[0].Message, "\n") {
		k, v, _ := strings.Cut(line, "=")
		got[k] = v
	}
	if got["LANG"] != "C" || got["HOME"] != "/nowhere" || !strings.HasPrefix(got["TMPDIR"], b.runDir) {
		t.Errorf("environment %v", got)
	}
	for _, k := range []string{"SECRET_OF_THE_HOST", "PATH", "USER", "PLUGIN_CLIENT_CERT", "PLUGIN_MULTIPLEX_GRPC", "PLUGIN_UNIX_SOCKET_GROUP"} {
		if v, ok := got[k]; ok {
			t.Errorf("the plugin sees %s=%s", k, v)
		}
	}
}

// TestSideBySide runs good and bad at once: nobody disturbs the others.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	good, crash, hang := newBench(t, "ok"), newBench(t, "panic-in-scan"),
		newBench(t, "hang", plugin(func(p *executor.Plugin) { p.MaxSilence = time.Second }))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				_, _, err := crash.run(t)
				wantFault(t, err, host.CodePluginCrashed, true, "boom")
			case 1:
				_, _, err := hang.run(t)
				wantFault(t, err, host.CodePluginHung, true, "said nothing")
			default:
				if rep, found, err := good.run(t); err != nil || rep.State != host.StateSucceeded || len(found) != 1 {
					t.Errorf("run %d: %+v, %d findings, %v", i, rep, len(found), err)
				}
			}
		})
	}
	wg.Wait()
}

// TestNoFilesLeak is not parallel: it counts the files of the whole process.
func TestNoFilesLeak(t *testing.T) {
	count := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	modes := []string{"ok", "panic-at-start", "panic-in-scan", "tcp-handshake", "link-handshake", "refuse"}
	round := func() {
		for _, mode := range modes {
			b := prepare(t, mode)
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := b.Serve(ctx); err != nil {
					t.Error(err)
				}
			})
			_, _, _ = b.run(t)
			stop()
			wg.Wait()
			b.wantNothingLeft(t)
		}
	}
	round() // opens what the runtime keeps: epoll and the like
	before := count()
	round()
	round()
	// Files of connections are closed by goroutines that may be a moment late.
	eventually(t, "no more open files than before", func() bool { return count() <= before })
}

// TestTaskMayHaveLess: what a tenant's plan leaves a job is less than what the
// plugin may have, never more.
func TestTaskMayHaveLess(t *testing.T) {
	t.Parallel()
	for own, want := range map[int]int{10: 10, 5000: 100} {
		b, s := newBench(t, "flood-findings", plugin(func(p *executor.Plugin) { p.MaxFindings = 100 })), &sink{}
		task := b.task(t, "")
		task.Findings = own
		rep, err := b.Run(t.Context(), task, s)
		if err != nil || rep.State != host.StatePartial || !strings.Contains(rep.Reason, fmt.Sprintf("the first %d are kept", want)) || len(s.findings) != want {
			t.Errorf("a job that may have %d: %d findings, %+v, %v", own, len(s.findings), rep, err)
		}
		b.wantNothingLeft(t)
	}
}
