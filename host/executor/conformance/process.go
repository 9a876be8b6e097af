package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// maxSaid is the longest quote of a plugin in an outcome, in bytes.
const maxSaid = 400

// callTimeout bounds calls that no check is about.
const callTimeout = 10 * time.Second

// proc is one process of the plugin, started as the host starts it.
type proc struct {
	*executor.Trial
	k   *kit
	api pluginv1.ScannerClient
}

func (k *kit) start(ctx context.Context) (*proc, error) {
	t, err := k.host.Try(ctx, subject, executor.Taps{Stdout: k.strays.writer(), Stderr: k.stderr.writer()})
	if err != nil {
		return nil, faulty{errors.New(said(err))}
	}
	return &proc{t, k, t.Scanner()}, nil
}

// ready starts a process and configures it.
func (k *kit) ready(ctx context.Context) (*proc, error) {
	p, err := k.start(ctx)
	if err != nil {
		return nil, faulty{fmt.Errorf("it did not start again: %w", err)}
	}
	if err := p.configure(ctx, k.config); err != nil {
		p.stop()
		return nil, faulty{fmt.Errorf("a second process does not take the settings of the first: %w", err)}
	}
	return p, nil
}

// faulty is an error that is the plugin's.
type faulty struct{ error }

// trouble is what a check says when it cannot be done. When that is not the
// plugin's fault, nothing more can be said of the plugin, and Run ends.
func (k *kit) trouble(err error) outcome {
	if f := (faulty{}); errors.As(err, &f) {
		return failed("%v", err)
	}
	k.err = errors.Join(k.err, err)
	return notApplicable("%v", err)
}

// scanner gives a configured process: the one there is, or another when it has
// died.
func (k *kit) scanner(ctx context.Context) (*proc, error) {
	if k.worker == nil {
		k.worker, k.first = k.first, nil
	}
	if k.worker != nil && k.worker.alive() {
		return k.worker, nil
	}
	k.drop()
	p, err := k.ready(ctx)
	k.worker = p
	return p, err
}

// drop ends the process for scans, because nobody knows what it does now.
func (k *kit) drop() {
	if k.worker != nil {
		k.worker.stop()
	}
	k.worker = nil
}

func (p *proc) alive() bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// answers reports whether the process still takes calls.
func (p *proc) answers(ctx context.Context) bool {
	call, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := p.api.Describe(call, &pluginv1.DescribeRequest{})
	return err == nil
}

// died waits a moment for the process to have ended, and says how it did; ""
// when it lives.
func (p *proc) died() string {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-p.Done():
		return "the process " + clean.Line(p.Exit(), maxSaid)
	case <-t.C:
		return ""
	}
}

// stop ends the process, gracefully so that the author's clean-up runs too.
func (p *proc) stop() { p.Stop(true) }

func (p *proc) describe(ctx context.Context) (*pluginv1.DescribeResponse, time.Duration, error) {
	call, cancel := context.WithTimeout(ctx, p.k.opts.DescribeTimeout)
	defer cancel()
	began := time.Now()
	d, err := p.api.Describe(call, &pluginv1.DescribeRequest{HostVersion: p.k.opts.HostVersion})
	if err != nil {
		return nil, time.Since(began), p.explain("Describe", err)
	}
	return d, time.Since(began), nil
}

// configure hands over settings. The error says why they were not taken.
func (p *proc) configure(ctx context.Context, settings []byte) error {
	diags, err := p.tryConfig(ctx, settings, false)
	if err != nil {
		return err
	}
	if bad := complaints(diags); len(bad) > 0 {
		return errors.New("it refuses them: " + strings.Join(describeDiagnostics(bad), "; "))
	}
	return nil
}

func (p *proc) tryConfig(ctx context.Context, settings []byte, only bool) ([]*pluginv1.Diagnostic, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := p.api.Configure(call, &pluginv1.ConfigureRequest{ConfigJson: settings, ValidateOnly: only})
	if err != nil {
		return nil, p.explain("Configure", err)
	}
	return resp.GetDiagnostics(), nil
}

// explain says how a call failed: by the end of the process, when that is why.
func (p *proc) explain(call string, err error) error {
	if how := p.died(); how != "" {
		return fmt.Errorf("%s during %s", how, call)
	}
	return fmt.Errorf("%s answered with %s", call, grpcError(err))
}

func grpcError(err error) string {
	st, _ := status.FromError(err)
	return fmt.Sprintf("the gRPC error %s: %s", st.Code(), clean.Line(st.Message(), maxSaid))
}

// complaints are the diagnostics that mean "not configured".
func complaints(diags []*pluginv1.Diagnostic) []*pluginv1.Diagnostic {
	var bad []*pluginv1.Diagnostic
	for _, d := range diags {
		if d.GetSeverity() == pluginv1.Diagnostic_SEVERITY_ERROR {
			bad = append(bad, d)
		}
	}
	return bad
}

func describeDiagnostics(diags []*pluginv1.Diagnostic) []string {
	var out []string
	for _, d := range diags {
		text := clean.Line(d.GetSummary(), maxSaid)
		if at := clean.Line(strings.Join(d.GetAttributePath(), "."), 100); at != "" {
			text = at + ": " + text
		}
		out = append(out, text)
	}
	return out
}

// said is a fault of the executor as a sentence about the plugin.
func said(err error) string {
	text := err.Error()
	var f *host.Fault
	if errors.As(err, &f) {
		text = f.Message
	}
	return strings.ReplaceAll(text, fmt.Sprintf("plugin %q ", subject), "it ")
}

// lines keeps what processes write, up to a limit, line by line.
type lines struct {
	mu   sync.Mutex
	kept []string
	size int
}

const (
	maxKept = 4 << 20
	maxLine = 64 << 10
)

// writer is for one process: its lines are not mixed with another's.
func (l *lines) writer() *lineWriter { return &lineWriter{to: l} }

func (l *lines) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) > 0 && l.size < maxKept {
		l.kept = append(l.kept, string(line))
		l.size += len(line)
	}
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.kept...)
}

// lineWriter cuts what is longer than maxLine into several lines.
type lineWriter struct {
	to   *lines
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		w.to.add(append(w.rest, b[:i]...))
		w.rest, b = nil, b[i+1:]
	}
	if w.rest = append(w.rest, b...); len(w.rest) > maxLine {
		w.to.add(w.rest)
		w.rest = nil
	}
	return n, nil
}
