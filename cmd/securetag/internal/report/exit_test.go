package report_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	high := client.Counts{High: 1}
	for _, c := range []struct {
		state  client.State
		job    client.State
		counts client.Counts
		failOn string
		want   int
	}{
		{client.StateSucceeded, client.StateSucceeded, client.Counts{}, "low", 0},
		{client.StateSucceeded, client.StateSucceeded, high, "none", 0},
		{client.StateSucceeded, client.StateSucceeded, high, "critical", 0},
		{client.StateSucceeded, client.StateSucceeded, high, "high", 1},
		{client.StateSucceeded, client.StateSucceeded, high, "info", 1},
		{client.StateSucceeded, client.StateSucceeded, client.Counts{Unknown: 1}, "info", 0},
		{client.StateSucceeded, client.StateSucceeded, client.Counts{Unknown: 1}, "unknown", 1},
		{client.StateSucceeded, client.StateFailed, high, "high", 3},
		{client.StatePartial, client.StatePartial, high, "high", 3},
		{client.StatePartial, client.StatePartial, client.Counts{}, "none", 3},
		{client.StateFailed, client.StateFailed, client.Counts{}, "none", 3},
		{client.StateCanceled, client.StateCanceled, high, "high", 3},
		{"from_the_future", client.StateSucceeded, client.Counts{}, "high", 3},
		{client.StateTimedOut, client.StateTimedOut, high, "high", 6},
		{client.StateQueued, client.StateQueued, client.Counts{}, "high", 6},
		{client.StateRunning, client.StateRunning, high, "high", 6},
	} {
		threshold, err := report.ParseThreshold(c.failOn)
		if err != nil {
			t.Fatal(err)
		}
		if threshold.String() != c.failOn {
			t.Errorf("threshold %q reads back as %q", c.failOn, threshold)
		}
		scan := client.Scan{State: c.state, Counts: c.counts, Jobs: []client.Job{{State: c.job}}}
		if got := report.ExitCode(scan, threshold); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
	if _, err := report.ParseThreshold("hihg"); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	idle := client.Job{State: client.StateSucceeded, NotApplicable: "no Go files"}
	for want, jobs := range map[int][]client.Job{3: {idle, idle}, 0: {idle, {State: client.StateSucceeded}}} {
		scan := client.Scan{State: client.StateSucceeded, Jobs: jobs, Gate: &client.Gate{State: "passed", Passed: true}}
		if got := report.ExitCode(scan, report.Threshold{}); got != want {
			t.Errorf("%d jobs, the first of which had nothing to look at: %d, want %d", len(jobs), got, want)
		}
	}
	if got := report.ExitCode(client.Scan{State: client.StateSucceeded, Counts: high}, report.Threshold{}); got != 0 {
		t.Errorf("the zero threshold fails a scan: %d", got)
	}
}

func TestExitCodeOf(t *testing.T) {
	t.Parallel()
	answer := func(code int) error {
		return fmt.Errorf("upload: %w", &client.Error{StatusCode: code, Problem: client.Problem{Title: "x"}})
	}
	network := func(err error) error { return &client.NetworkError{Op: "GET /x", Err: err} }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{answer(400), 2}, {answer(404), 2}, {answer(413), 2}, {answer(415), 2}, {answer(422), 2},
		{answer(401), 4}, {answer(403), 4}, {answer(429), 4},
		{answer(408), 5}, {answer(500), 5}, {answer(503), 5}, {answer(302), 5},
		{network(syscall.ECONNREFUSED), 5},
		{network(errors.New("unexpected EOF")), 5},
		{&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}}, 5},
		{&net.DNSError{Name: "nowhere"}, 5},
		{fmt.Errorf("start: %w", host.ErrUnavailable), 5},
		{network(context.DeadlineExceeded), 6},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), 6},
		{network(&url.Error{Op: "Get", Err: context.Canceled}), 130},
		{context.Canceled, 130},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, 2},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.ENOTDIR}, 2},
		{&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, 5},
		{errors.New("unknown flag"), 2},
	} {
		if got := report.ExitCodeOf(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

// TestExitCodeGate: the gate knows better than the counts, and never opens for a
// scan that is not whole.
func TestExitCodeGate(t *testing.T) {
	t.Parallel()
	low, err := report.ParseThreshold("low")
	if err != nil {
		t.Fatal(err)
	}
	scan := client.Scan{State: client.StateSucceeded, Counts: client.Counts{High: 1}}
	for state, want := range map[string]int{"passed": report.ExitClean, "failed": report.ExitFindings, "pending": report.ExitTimeout, "odd": report.ExitFindings} {
		scan.Gate = &client.Gate{State: state, Passed: state == "passed" || state == "odd"}
		if got := report.ExitCode(scan, low); got != want {
			t.Errorf("a gate that is %s: %d, want %d", state, got, want)
		}
	}
	scan.State, scan.Gate = client.StatePartial, &client.Gate{State: "passed", Passed: true}
	if got := report.ExitCode(scan, low); got != report.ExitIncomplete {
		t.Errorf("a partial scan whose gate passed: %d", got)
	}
}
