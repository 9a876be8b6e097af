package report

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

// The exit codes of `securetag scan`. This is the one table of them.
//
//	0    clean: the scan succeeded, nothing at or over the threshold
//	1    the scan succeeded, with findings at or over the threshold, or did not
//	     pass its gate
//	2    usage or configuration, or an archive that the server refuses
//	3    the scan failed, is partial or was canceled, whatever it found: who
//	     treats 1 as "known findings" must not miss an engine that did not run.
//	     Or it looked at nothing, as there was nothing for any engine
//	4    credentials or quota: 401, 403, 429
//	5    network or server: no answer, a broken one, 5xx
//	6    the scan ran out of time, or we out of patience
//	130  interrupted
const (
	ExitClean       = 0
	ExitFindings    = 1
	ExitUsage       = 2
	ExitIncomplete  = 3
	ExitDenied      = 4
	ExitServer      = 5
	ExitTimeout     = 6
	ExitInterrupted = 130
)

// Threshold is the severity from which findings fail a scan. The zero value
// fails none.
type Threshold struct{ severity host.Severity }

// ParseThreshold reads a severity or "none". With "unknown" every finding
// counts; with any other, findings of unknown severity do not.
func ParseThreshold(s string) (Threshold, error) {
	if s == "none" {
		return Threshold{}, nil
	}
	v, err := host.ParseSeverity(s)
	if err != nil {
		return Threshold{}, fmt.Errorf("%.32q is neither a severity (critical, high, medium, low, info, unknown) nor none: %w", s, host.ErrInvalid)
	}
	return Threshold{v}, nil
}

func (t Threshold) String() string {
	if t.severity == "" {
		return "none"
	}
	return string(t.severity)
}

// Reached reports whether there is a finding at or over the threshold.
func (t Threshold) Reached(c client.Counts) bool {
	return t.severity != "" && slices.ContainsFunc(host.Severities(), func(s host.Severity) bool {
		return s.AtLeast(t.severity) && host.Counts(c).Of(s) > 0
	})
}

// ExitCode is how a scan that was seen to its end exits. One that is not at
// its end is one that we stopped waiting for.
func ExitCode(scan client.Scan, failOn Threshold) int {
	switch {
	case !scan.State.Final(), scan.State == client.StateTimedOut:
		return ExitTimeout
	case scan.State != client.StateSucceeded:
		return ExitIncomplete
	}
	for _, j := range scan.Jobs { // the server says so by the scan's state; not to be taken on trust
		if j.State != client.StateSucceeded {
			return ExitIncomplete
		}
	}
	if export.NothingScanned(scan) {
		return ExitIncomplete
	}
	if g := scan.Gate; g != nil {
		return gateCode(g)
	}
	if failOn.Reached(scan.Counts) {
		return ExitFindings
	}
	return ExitClean
}

// gateCode is how a scan that succeeded exits by its gate, which knows what is
// new and what people waived. One that is still pending is one that we stopped
// waiting for: it is never clean.
func gateCode(g *client.Gate) int {
	switch {
	case g.State == "pending":
		return ExitTimeout
	case g.Passed && g.State == "passed":
		return ExitClean
	}
	return ExitFindings
}

// ExitCodeOf is how a command that ended with err exits. A deadline counts as
// running out of patience, unless it was the network's own (connecting,
// reading). What is not known is taken for a usage error.
func ExitCodeOf(err error) int {
	if err == nil {
		return ExitClean
	}
	if answer, ok := errors.AsType[*client.Error](err); ok {
		switch code := answer.StatusCode; {
		case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusTooManyRequests:
			return ExitDenied
		case code >= 400 && code < 500 && code != http.StatusRequestTimeout:
			return ExitUsage
		default:
			return ExitServer
		}
	}
	_, op := errors.AsType[*net.OpError](err)
	_, broken := errors.AsType[*client.NetworkError](err)
	_, other := errors.AsType[net.Error](err)
	_, errno := errors.AsType[syscall.Errno](err)
	other = other && !errno // which looks like a net.Error also when it is about a file
	switch {
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded) && !op:
		return ExitTimeout
	case op, broken, other, errors.Is(err, host.ErrUnavailable):
		return ExitServer
	default:
		return ExitUsage
	}
}
