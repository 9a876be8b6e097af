package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// transcript is what one scan said and how it ended. The checks of events,
// findings and artifacts leave what they minded in bad.
type transcript struct {
	tree    *tree  // nil: a URL
	what    string // what was scanned, for people
	workDir string
	rules   map[string]bool

	findings  []*pluginv1.Finding // the first maxFindings
	found     uint64
	artifacts map[string]bool
	completed *pluginv1.Completed // the first
	events    int
	err       error // how the stream ended; io.EOF when it ended well
	timedOut  bool
	died      string // how the process ended, when it did
	took      time.Duration
	usage     usage
	cancelled bool              // somebody asked for it
	bad       map[string]string // the first thing each check minded
}

const maxFindings = 100_000

// note keeps the first thing that a check minds.
func (t *transcript) note(check, format string, args ...any) {
	if t.bad[check] == "" {
		t.bad[check] = fmt.Sprintf(format, args...)
	}
}

// request is a scan to be made.
type request struct {
	tree    *tree
	url     string
	options []byte          // nil: {}
	timeout time.Duration   // 0: ScanTimeout
	begun   chan<- struct{} // closed at the first event; nil: nobody waits
}

// scan runs a scan to its end, or until it takes too long. A process that did
// not end it is not used again.
func (k *kit) scan(ctx context.Context, p *proc, r request) (*transcript, error) {
	k.nextWorkDir++
	return k.scanAs(ctx, p, r, strconv.Itoa(k.nextWorkDir))
}

// scanAs is scan under a given name. It may run beside itself.
func (k *kit) scanAs(ctx context.Context, p *proc, r request, name string) (*transcript, error) {
	t := &transcript{
		tree: r.tree, what: r.url, workDir: filepath.Join(k.base, "work", name), rules: map[string]bool{},
		artifacts: map[string]bool{}, bad: map[string]string{},
	}
	for _, rule := range k.desc.GetRules() {
		t.rules[rule.GetId()] = true
	}
	if err := os.Mkdir(t.workDir, 0o700); err != nil {
		return nil, fmt.Errorf("make a work directory: %w", err)
	}
	def(&r.timeout, k.opts.ScanTimeout)
	if len(r.options) == 0 {
		r.options = []byte("{}")
	}
	req := &pluginv1.ScanRequest{
		RunId: runID(name), Attempt: 1, OptionsJson: r.options, WorkDir: t.workDir, IdentityKey: []byte("conformance"),
		Target: &pluginv1.Target{DisplayName: "conformance"},
		Limits: &pluginv1.Limits{
			MaxFindings: maxFindings, MaxSilence: durationpb.New(k.opts.MaxSilence),
			MaxArtifacts: 100, MaxArtifactsBytes: 64 << 20,
		},
	}
	if r.tree != nil {
		t.what = "the " + r.tree.name + " tree"
		req.Target.Kind = &pluginv1.Target_Root{Root: r.tree.root}
	} else {
		req.Target.Kind = &pluginv1.Target_Url{Url: r.url}
	}
	t.cancelled = r.begun != nil
	t.usage = watch(p.PID(), func() { t.receive(ctx, p, req, r) })
	t.finish()
	if t.died != "" || t.timedOut {
		p.Stop(false)
	}
	if err := removeAll(t.workDir); err != nil {
		return t, err
	}
	return t, ctx.Err()
}

// receive reads the stream to its end.
func (t *transcript) receive(ctx context.Context, p *proc, req *pluginv1.ScanRequest, r request) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	expired := make(chan struct{})
	timer := time.AfterFunc(r.timeout, func() { close(expired); cancel() })
	defer timer.Stop()
	began := time.Now()
	last := began
	stream, err := p.api.Scan(call, req)
	for err == nil {
		var ev *pluginv1.ScanEvent
		if ev, err = stream.Recv(); err != nil {
			break
		}
		if t.events++; t.events == 1 && r.begun != nil {
			close(r.begun)
		}
		t.quiet(time.Since(last), p.k.opts.MaxSilence)
		last = time.Now()
		t.take(ev)
	}
	t.err, t.took = err, time.Since(began)
	if t.completed == nil {
		t.quiet(time.Since(last), p.k.opts.MaxSilence)
	}
	select {
	case <-expired:
		t.timedOut = true
	default:
		if status.Code(err) == codes.Unavailable && !p.answers(ctx) || !p.alive() {
			t.died = p.died()
		}
	}
}

// during does something while a scan runs: once it has said something, or has
// run for a moment in silence. It is done before during returns.
func (k *kit) during(ctx context.Context, p *proc, r request, f func(runID string)) (*transcript, error) {
	const moment = 200 * time.Millisecond
	k.nextWorkDir++
	name := strconv.Itoa(k.nextWorkDir)
	begun, ended := make(chan struct{}), make(chan struct{})
	r.begun = begun
	var t *transcript
	var err error
	go func() {
		defer close(ended)
		t, err = k.scanAs(ctx, p, r, name)
	}()
	silent := time.NewTimer(moment)
	defer silent.Stop()
	select {
	case <-begun:
	case <-silent.C:
	case <-ended:
	}
	f(runID(name))
	<-ended
	return t, err
}

func runID(name string) string { return "conformance/" + name }

func (t *transcript) quiet(d, limit time.Duration) {
	if d > limit {
		t.note("events.silence", "no event for %s, and max_silence is %s", d.Round(time.Millisecond), limit)
	}
}

// take judges one event.
func (t *transcript) take(ev *pluginv1.ScanEvent) {
	if n := proto.Size(ev); n > wire.MaxEvent {
		t.note("events.size", "an event of %d bytes", n)
	}
	if t.completed != nil {
		t.note("events.completed", "an event after Completed, which must be the last")
	}
	switch e := ev.GetEvent().(type) {
	case *pluginv1.ScanEvent_Findings:
		for _, f := range e.Findings.GetFindings() {
			t.found++
			if len(t.findings) < maxFindings {
				t.findings = append(t.findings, f)
			}
			t.finding(f)
		}
	case *pluginv1.ScanEvent_Artifact:
		t.artifact(e.Artifact)
	case *pluginv1.ScanEvent_Log:
		t.leaks("a log line", e.Log.GetMessage())
	case *pluginv1.ScanEvent_Diagnostic:
		t.leaks("a diagnostic", e.Diagnostic.GetSummary()+" "+e.Diagnostic.GetDetail())
	case *pluginv1.ScanEvent_Completed:
		if t.completed == nil {
			t.completed = e.Completed
			t.complete(e.Completed)
		}
	}
}

// ended says what is wrong with how the scan ended, "" when nothing is. What
// checks of their own look at is not repeated here.
func (t *transcript) ended() string {
	switch {
	case t.died != "":
		return t.died + ", and the scan with it"
	case t.timedOut:
		return fmt.Sprintf("it did not end within %s", t.took.Round(time.Millisecond))
	case t.completed.GetStatus() == pluginv1.Completed_STATUS_FAILED:
		return "it failed: " + quote(t.completed.GetReason())
	case t.completed != nil, errors.Is(t.err, io.EOF), notUTF8(t.err):
		return "" // events.completed, events.utf8
	default:
		return "it ended with " + grpcError(t.err)
	}
}

// taken reports whether the scan ran and had its last word, whatever that was.
func (t *transcript) taken() bool { return t.completed != nil && errors.Is(t.err, io.EOF) }

// clean reports whether the scan ended by the plugin's own word.
func (t *transcript) clean() bool {
	return t.ended() == "" && t.taken()
}

func notUTF8(err error) bool {
	st, _ := status.FromError(err)
	return st.Code() == codes.Internal && strings.Contains(st.Message(), "UTF-8")
}

// seen is everything that the scans of the trees and URLs said.
type seen struct {
	order []string
	by    map[string]*transcript
}

// transcript scans a target of the kit once.
func (k *kit) transcript(ctx context.Context, name string, r request) (*transcript, error) {
	if k.seen == nil {
		k.seen = &seen{by: map[string]*transcript{}}
	}
	if t := k.seen.by[name]; t != nil {
		return t, nil
	}
	p, err := k.scanner(ctx)
	if err != nil {
		return nil, err
	}
	t, err := k.scan(ctx, p, r)
	if err != nil {
		return nil, err
	}
	k.seen.order = append(k.seen.order, name)
	k.seen.by[name] = t
	return t, nil
}

// transcripts scans whatever has not been scanned yet.
func (k *kit) transcripts(ctx context.Context) ([]*transcript, error) {
	if k.takes(pluginv1.Input_INPUT_TREE) {
		for _, name := range k.treeNames() {
			if _, err := k.treeTranscript(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	if k.takes(pluginv1.Input_INPUT_URL) {
		for _, name := range urlNames() {
			if _, err := k.urlTranscript(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	var all []*transcript
	for _, name := range k.seen.order {
		all = append(all, k.seen.by[name])
	}
	return all, nil
}

// minded is the check of what all transcripts noted under its id.
func minded(id string) judgeFunc {
	return func(k *kit, ctx context.Context) outcome {
		all, err := k.transcripts(ctx)
		if err != nil {
			return k.trouble(err)
		}
		for _, t := range all {
			if why := t.bad[id]; why != "" {
				return failed("%s: %s", t.what, why)
			}
		}
		return pass()
	}
}
