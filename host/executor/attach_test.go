package executor_test

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/internal/testhost"
)

// TestNotApplicable: a plugin that had nothing to look at has succeeded, and
// says why; nobody takes it for a scan of the whole.
func TestNotApplicable(t *testing.T) {
	t.Parallel()
	b := newBench(t, "not-applicable")
	rep, found, err := b.run(t)
	if want := (host.Report{State: host.StateSucceeded, Reason: "no Go files"}); err != nil || rep != want || len(found) > 0 {
		t.Errorf("Run: %+v, %d findings, %v; want %+v", rep, len(found), err, want)
	}
	if log := b.logs.String(); !strings.Contains(log, "not applicable: no Go files") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

// TestNotes: what a plugin remarks on the target, and why its result is not whole,
// reaches who asked for the scan, clean, and without the places of this machine; the operator's log has it whole.
func TestNotes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "notes")
	task, s := b.task(t, ""), &sink{}
	whole := host.Report{State: host.StatePartial, Reason: "part of the target was not scanned: cannot read a/b.go, nor write c"}
	if rep, err := b.Run(t.Context(), task, s); err != nil || rep != whole {
		t.Fatalf("Run: %+v, %v; want %+v", rep, err, whole)
	}
	want := []host.Note{
		{Level: host.NoteNotice, Text: "two [2Jlines"},
		{Level: host.NoteWarning, Text: "cannot read a/b.go in . now. What to do.", Path: "a/b.go"},
		{Level: host.NoteError, Text: strings.Repeat("x", 397) + "…", Path: "c.go"},
	}
	if diff := cmp.Diff(want, s.notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if log := b.logs.String(); !strings.Contains(log, task.Root+"/a/b.go") {
		t.Errorf("the operator is not told where:\n%s", log)
	}
}

// debugged runs the example plugin as its author does, with --debug, and gives
// what the host is told.
func debugged(t *testing.T) (value string, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "awskeys")
	if err := testhost.Build("../..", path, "./examples/plugins/awskeys"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, path, "--debug")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // killed
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	value, ok := strings.CutPrefix(strings.TrimSpace(line), "SECURETAG_REATTACH=")
	if err != nil || !ok {
		t.Fatalf("it printed %q, %v", line, err)
	}
	return strings.Trim(value, "'"), stop
}

// A process that its author started is scanned with, again and again, and left
// alone; when it is gone its jobs say so.
func TestAttach(t *testing.T) {
	t.Parallel()
	value, stop := debugged(t)
	at, err := executor.ParseAttach(value)
	if err != nil {
		t.Fatal(err)
	}
	a := at["awskeys"]
	if a.PID == 0 {
		t.Fatalf("attach to %+v", at)
	}
	b := newBench(t, "ok", func(c *executor.Config) {
		p := &c.Plugins[0]
		p.Name, p.Command, p.Attach = "awskeys", "/not/started", &a
	})
	task := b.task(t, "")
	task.Plugin = "awskeys"
	for range 3 {
		rep, err := b.Run(t.Context(), task, &sink{})
		if err != nil || rep.State != host.StateSucceeded {
			t.Fatalf("Run: %+v, %v", rep, err)
		}
	}
	stop()
	if _, err = b.Run(t.Context(), task, &sink{}); err == nil || !strings.Contains(err.Error(), "attached to and cannot be") {
		t.Errorf("Run without the process: %v", err)
	}
}

// A shared plugin holds one connection, and notices its end.
func TestAttachShared(t *testing.T) {
	t.Parallel()
	value, stop := debugged(t)
	at, err := executor.ParseAttach(value)
	if err != nil {
		t.Fatal(err)
	}
	a := at["awskeys"]
	b := newBench(t, "ok", shared, func(c *executor.Config) {
		p := &c.Plugins[0]
		p.Name, p.Command, p.Attach = "awskeys", "/not/started", &a
	})
	eventually(t, "attached", func() bool { return b.Status()[0].State == executor.StateReady })
	stop()
	eventually(t, "its end is noticed", func() bool { return b.Status()[0].State == executor.StateBackoff })
}

func TestParseAttach(t *testing.T) {
	t.Parallel()
	if at, err := executor.ParseAttach(""); at != nil || err != nil {
		t.Errorf("nothing: %v, %v", at, err)
	}
	for value, want := range map[string]string{
		"x": "not what a plugin with --debug prints",
		`{"a":{"network":"tcp","address":"127.0.0.1:1"}}`: "only the absolute path of a unix socket",
		`{"a":{"network":"unix","address":"s"}}`:          "only the absolute path of a unix socket",
	} {
		if _, err := executor.ParseAttach(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}
