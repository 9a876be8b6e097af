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

// deathWatch is how long a broken connection waits for the news that the
// process behind it has ended.
const deathWatch = time.Second

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
	case p.dead():
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
	case p.dead():
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
