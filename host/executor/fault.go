package executor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
)

// maxFaultLine is the longest message of a fault, in bytes.
const maxFaultLine = 1 << 10

// deathWatch is how long an error waits for the news that the process behind it
// has ended, and lastBreath how long one that says that the connection broke: on
// a busy machine the kernel may need seconds to end a process and all it started.
const (
	deathWatch = time.Second
	lastBreath = 10 * time.Second
)

// fault is a *host.Fault about this plugin; the message continues its name.
func (p *process) fault(code host.ErrorCode, retryable bool, format string, args ...any) *host.Fault {
	return newFault(p.plugin.Name, code, retryable, format, args...)
}

func newFault(plugin string, code host.ErrorCode, retryable bool, format string, args ...any) *host.Fault {
	m := fmt.Sprintf("plugin %q ", plugin) + fmt.Sprintf(format, args...)
	return &host.Fault{Code: code, Message: clean.Line(m, maxFaultLine), Retryable: retryable}
}

// crash is the fault of a process that has ended by itself.
func (p *process) crash(when string) *host.Fault {
	how := p.runner.exit(when)
	if p.plugin.Isolation == Shared {
		// Its last words may be about another tenant's scan, and whose input
		// killed it nobody can tell.
		how = p.runner.ended(when)
	}
	f := p.fault(host.CodePluginCrashed, true, "%s", how)
	f.Crashed = p.plugin.Isolation == PerScan
	return f
}

// dead waits a moment for the process to have ended.
func (p *process) dead() bool { return wait(p.runner.done, deathWatch) }

// deadAfter waits for that as long as the error is worth.
func (p *process) deadAfter(st *status.Status) bool {
	if hungUp(st) {
		return wait(p.runner.done, lastBreath)
	}
	return p.dead()
}

// scanFault translates the gRPC error with which a scan's stream ended.
func (p *process) scanFault(err error) *host.Fault {
	st, _ := status.FromError(err)
	said := clean.Line(st.Message(), maxFaultLine/2)
	switch code := st.Code(); {
	case tooLarge(st):
		return p.fault(host.CodePluginProtocol, false, "sent a message over the limit: %s", said)
	case malformed(st):
		return p.fault(host.CodePluginProtocol, false, "sent a malformed message: %s", said)
	case code == codes.InvalidArgument: // its own word: no need to look whether it lives
		return p.fault(host.CodePluginRefused, false, "refused the scan: %s", said)
	case p.deadAfter(st):
		return p.crash("before it completed the scan")
	case code == codes.Unavailable, code == codes.ResourceExhausted:
		return p.fault(host.CodePluginUnavailable, true, "cannot take the scan now (%s): %s", code, said)
	case code == codes.Unimplemented:
		return p.fault(host.CodePluginProtocol, false, "does not implement Scan: %s", said)
	default:
		return p.fault(host.CodePluginProtocol, true, "ended the scan with the gRPC error %s instead of Completed: %s", code, said)
	}
}

// callFault translates the error of a unary call made while starting.
func (p *process) callFault(err error, call string, limit time.Duration) *host.Fault {
	st, _ := status.FromError(err)
	said := clean.Line(st.Message(), maxFaultLine/2)
	switch {
	case errors.Is(err, context.DeadlineExceeded), st.Code() == codes.DeadlineExceeded:
		return p.fault(host.CodePluginUnavailable, true, "did not answer %s within %s", call, limit)
	case tooLarge(st), malformed(st):
		return p.fault(host.CodePluginUnavailable, true, "answered %s with a message that cannot be read: %s", call, said)
	case p.deadAfter(st):
		return p.fault(host.CodePluginUnavailable, true, "%s", p.runner.exit("before it answered "+call))
	default:
		return p.fault(host.CodePluginUnavailable, true, "answered %s with the gRPC error %s: %s", call, st.Code(), said)
	}
}

// tooLarge and malformed know the errors that grpc-go itself makes of what it
// received. A plugin that imitates the text only gets the harsher fault.
func tooLarge(st *status.Status) bool {
	return st.Code() == codes.ResourceExhausted && strings.Contains(st.Message(), "message larger than max")
}

func malformed(st *status.Status) bool {
	return st.Code() == codes.Internal && strings.Contains(st.Message(), "failed to unmarshal")
}

// hungUp knows what grpc-go makes of a connection that broke.
func hungUp(st *status.Status) bool {
	return st.Code() == codes.Unavailable &&
		(strings.Contains(st.Message(), "error reading from server") || strings.Contains(st.Message(), "connection error"))
}

// wait reports whether done was closed within d.
func wait(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
