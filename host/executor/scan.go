package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// flushAt is how many findings go to the sink at once.
const flushAt = 500

// event is one step of the stream: a message, or the error that ended it.
type event struct {
	msg *pluginv1.ScanEvent
	err error
}

// scan is one run of one task on one process. Everything but receive happens
// on the goroutine that called run.
type scan struct {
	p    *process
	id   string // names the run to the plugin
	task host.Task
	sink host.Sink
	log  hclog.Logger
	key  []byte // for identities; nil: none

	events chan event
	meter  meter
	held   []host.Finding // not yet in the sink
	lines  lineHasher
	found  int            // findings received
	bytes  int64          // of findings received
	full   string         // why the rest is refused; "" while it is not
	ofRule map[string]int // findings received, by rule
	left   omissions

	artifacts     int
	artifactBytes int64
	names         map[string]bool // of the artifacts
	broken        bool            // the plugin did not stop when it was asked to
}

// errSink marks that the sink failed, not the plugin.
type errSink struct{ err error }

func (e errSink) Error() string { return e.err.Error() }

// run runs the task. When ctx ends it stops the plugin and returns the
// context's cause; every other error is a *host.Fault. After it, broken says
// whether the process may still be busy with the scan.
func (s *scan) run(ctx context.Context) (host.Report, error) {
	if ctx.Err() != nil {
		return host.Report{}, context.Cause(ctx)
	}
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var receiver sync.WaitGroup
	defer receiver.Wait()
	defer cancel()
	s.events = make(chan event)
	receiver.Go(func() { s.receive(streamCtx) })

	gone, left := s.p.runner.done, s.p.plugin.MaxSilence
	silence := time.NewTimer(left)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			s.halt(ctx, "the host ended the scan")
			return host.Report{}, context.Cause(ctx)
		case <-gone:
			// What it sent before it died is still to be read.
			gone, left = nil, deathWatch
			silence.Reset(left)
		case <-silence.C:
			if gone == nil {
				return host.Report{}, s.p.crash("before it completed the scan")
			}
			s.halt(ctx, "no sign of life")
			return host.Report{}, s.p.fault(host.CodePluginHung, true, "said nothing for %s and was stopped", s.p.plugin.MaxSilence)
		case ev := <-s.events:
			rep, end, err := s.take(ctx, ev)
			if end || err != nil {
				return rep, err
			}
			silence.Reset(left)
		}
	}
}

// receive reads the stream to its end, or until streamCtx does. Opening it
// may block as well.
func (s *scan) receive(streamCtx context.Context) {
	stream, err := s.p.scanner.Scan(streamCtx, s.request())
	for {
		var msg *pluginv1.ScanEvent
		if err == nil {
			msg, err = stream.Recv()
		}
		select {
		case s.events <- event{msg, err}:
		case <-streamCtx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *scan) request() *pluginv1.ScanRequest {
	target := &pluginv1.Target{DisplayName: s.task.DisplayName}
	if s.task.URL != "" {
		target.Kind = &pluginv1.Target_Url{Url: s.task.URL}
	} else {
		target.Kind = &pluginv1.Target_Root{Root: s.task.Root}
	}
	return &pluginv1.ScanRequest{
		RunId: s.id, Attempt: uint32(max(s.task.Attempt, 1)), Target: target, OptionsJson: s.p.info.options(s.task), WorkDir: s.task.WorkDir,
		IdentityKey: s.key, PermittedHosts: s.task.PermittedHosts,
		Limits: &pluginv1.Limits{
			MaxFindings: uint64(s.maxFindings()), MaxSilence: durationpb.New(s.p.plugin.MaxSilence),
			MaxArtifacts: uint64(s.p.plugin.MaxArtifacts), MaxArtifactsBytes: uint64(s.maxArtifactsBytes()),
		},
	}
}

// maxFindings is how many findings are kept, by the plugin's limit and the task's.
func (s *scan) maxFindings() int { return within(s.p.plugin.MaxFindings, s.task.Findings) }

// maxArtifactsBytes is the same of the artifacts together.
func (s *scan) maxArtifactsBytes() int64 {
	return within(s.p.plugin.MaxArtifactsBytes, s.task.Artifacts)
}

func within[T int | int64](most, own T) T {
	if own > 0 {
		return min(most, own)
	}
	return most
}

// take handles one event; end says that the scan is over with that report.
func (s *scan) take(ctx context.Context, ev event) (rep host.Report, end bool, err error) {
	if ev.err != nil {
		return rep, true, s.endedEarly(ev.err)
	}
	switch m := ev.msg.GetEvent().(type) {
	case *pluginv1.ScanEvent_Progress:
		s.sink.Progress(progress(m.Progress))
	case *pluginv1.ScanEvent_Log:
		s.note(logLevel(m.Log.GetLevel()), m.Log.GetMessage(), "")
	case *pluginv1.ScanEvent_Diagnostic:
		s.remark(m.Diagnostic)
	case *pluginv1.ScanEvent_Findings:
		err = s.add(ctx, m.Findings)
	case *pluginv1.ScanEvent_Artifact:
		err = s.artifact(ctx, m.Artifact)
	case *pluginv1.ScanEvent_Completed:
		rep, err = s.complete(ctx, m.Completed)
		end = true
	}
	if err == nil && !end && s.full != "" {
		rep, err = s.overflow(ctx)
		end = true
	}
	if err != nil {
		s.broken = true // it has not been told to stop, and may not have
		err = s.explain(ctx, err)
	}
	return rep, end, err
}

// explain turns what went wrong on our side into what Run may return.
func (s *scan) explain(ctx context.Context, err error) error {
	var sink errSink
	if !errors.As(err, &sink) {
		return err
	}
	s.broken = false
	s.halt(ctx, "the host cannot keep what is found")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := s.p.fault(host.CodeInternal, true, "was stopped: what it found could not be kept")
	f.Err = sink.err
	return f
}

// endedEarly is the fault of a stream that ended without Completed.
func (s *scan) endedEarly(err error) error {
	if !errors.Is(err, io.EOF) {
		return s.p.scanFault(err)
	}
	if s.p.dead() {
		return s.p.crash("before it completed the scan")
	}
	return s.p.fault(host.CodePluginProtocol, true, "ended the scan without Completed: what it found may be incomplete")
}

// add cleans and keeps a batch of findings. One that cannot be kept does not
// cost the others: it is left out and counted.
func (s *scan) add(ctx context.Context, batch *pluginv1.Findings) error {
	limits := s.p.plugin
	s.bytes += int64(proto.Size(batch))
	for _, f := range batch.GetFindings() {
		switch {
		case s.found == s.maxFindings():
			s.full = fmt.Sprintf("it found more than %d problems: the first %d are kept", s.found, s.found)
		case s.bytes > limits.MaxFindingsBytes:
			s.full = fmt.Sprintf("its findings are over %d bytes: the first %d findings are kept", limits.MaxFindingsBytes, s.found)
		}
		if s.full != "" {
			return nil
		}
		s.found++
		out, kept := s.clean(f)
		if !kept {
			continue
		}
		out.ID, out.ScanID, out.JobID, out.CreatedAt = host.NewFindingID(), s.task.Scan, s.task.Job, time.Now().UTC()
		if s.held = append(s.held, out); len(s.held) >= flushAt {
			if err := s.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// clean gives a finding as it is kept, or leaves it out.
func (s *scan) clean(f *pluginv1.Finding) (out host.Finding, kept bool) {
	rule, declared := s.p.rules[f.GetRuleId()]
	if !declared {
		s.leaveOut("findings of rules that the plugin does not declare", fmt.Sprintf("%q", clean.Line(f.GetRuleId(), 80)))
		return out, false
	}
	if s.ofRule == nil {
		s.ofRule = make(map[string]int)
	}
	if s.ofRule[rule.ID]++; s.ofRule[rule.ID] > s.p.plugin.MaxFindingsRule {
		s.leaveOut(fmt.Sprintf("findings after the first %d of one rule", s.p.plugin.MaxFindingsRule), rule.ID)
		return out, false
	}
	out, err := clean.Finding(s.p.plugin.Name, rule, f)
	if err != nil {
		s.leaveOut("findings at places outside the target", rule.ID+": "+err.Error())
		return out, false
	}
	return out, true
}

func (s *scan) flush(ctx context.Context) error {
	if len(s.held) == 0 {
		return nil
	}
	batch := s.held
	s.held = nil
	s.lines.hash(s.task.Root, batch)
	if err := s.sink.Findings(ctx, batch); err != nil {
		return errSink{err}
	}
	return nil
}

// overflow ends a scan that found more than is kept: what was kept is good.
func (s *scan) overflow(ctx context.Context) (host.Report, error) {
	if err := s.flush(ctx); err != nil {
		return host.Report{}, err
	}
	s.halt(ctx, s.full)
	return s.left.judge(host.Report{State: host.StatePartial, Reason: s.full}), nil
}

// complete checks Completed, and that it is the last word.
func (s *scan) complete(ctx context.Context, c *pluginv1.Completed) (host.Report, error) {
	reason := clean.Line(s.withoutPlace(c.GetReason()), maxFaultLine)
	if reason == "" && c.GetStatus() != pluginv1.Completed_STATUS_SUCCEEDED {
		reason = "the plugin gave no reason"
	}
	var rep host.Report
	switch c.GetStatus() {
	case pluginv1.Completed_STATUS_SUCCEEDED:
		rep = host.Report{State: host.StateSucceeded}
	case pluginv1.Completed_STATUS_NOT_APPLICABLE:
		if s.found > 0 {
			return rep, s.p.fault(host.CodePluginProtocol, false, "found %d problems and says that it looks at nothing in the target", s.found)
		}
		rep = host.Report{State: host.StateSucceeded, Reason: reason}
		defer s.note(hclog.Info, "not applicable: "+reason, "")
	case pluginv1.Completed_STATUS_PARTIAL:
		rep = host.Report{State: host.StatePartial, Reason: "part of the target was not scanned: " + reason}
	case pluginv1.Completed_STATUS_FAILED:
		rep = host.Report{State: host.StateFailed, Reason: reason, Retryable: c.GetRetryable()}
	case pluginv1.Completed_STATUS_CANCELLED:
		return rep, s.p.fault(host.CodePluginProtocol, true, "says the scan was cancelled, and nobody asked for it: %s", reason)
	default:
		return rep, s.p.fault(host.CodePluginProtocol, false, "completed the scan with the unknown status %d", c.GetStatus())
	}
	if err := s.lastWord(); err != nil {
		return host.Report{}, err
	}
	if rep.State == host.StateFailed {
		return rep, nil // no result: whatever it found before is dropped
	}
	if n := c.GetFindings(); n != uint64(s.found) {
		return host.Report{}, s.p.fault(host.CodePluginProtocol, true, "says it sent %d findings, and %d arrived", n, s.found)
	}
	return s.left.judge(rep), s.flush(ctx)
}

// lastWord waits for the stream to end after Completed. One that does not end,
// or breaks, takes nothing back from what the plugin said.
func (s *scan) lastWord() error {
	t := time.NewTimer(s.p.plugin.CancelGrace)
	defer t.Stop()
	select {
	case <-t.C:
		s.broken = true
		s.log.Warn("plugin did not end the stream after Completed", s.who()...)
	case ev := <-s.events:
		switch {
		case ev.err == nil:
			s.broken = true
			return s.p.fault(host.CodePluginProtocol, false, "went on after Completed, which must be its last word")
		case errors.Is(ev.err, io.EOF):
		case s.p.dead():
			s.log.Warn("plugin process ended right after Completed", s.who("how", s.p.runner.exit("after the scan"))...)
		default:
			return s.p.scanFault(ev.err)
		}
	}
	return nil
}

// halt is the first part of the ladder: Cancel, then a grace in which all the
// plugin still says is dropped. broken tells whether it stopped by then; the
// stream and, where it must be, the process are ended by the callers.
func (s *scan) halt(ctx context.Context, why string) {
	grace := s.p.plugin.CancelGrace
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	asked.Go(func() {
		_, err := s.p.scanner.Cancel(call, &pluginv1.CancelRequest{RunId: s.id, Reason: why, Grace: durationpb.New(grace)})
		if err != nil && call.Err() == nil {
			s.log.Debug("plugin did not take Cancel", s.who("error", err)...)
		}
	})
	t := time.NewTimer(grace)
	defer t.Stop()
	for {
		select {
		case ev := <-s.events:
			if ev.err != nil {
				return
			}
		case <-s.p.runner.done:
			return
		case <-t.C:
			s.broken = true
			return
		}
	}
}

// note logs what the plugin says, cleaned, a bounded number a second.
func (s *scan) note(level hclog.Level, text, path string) {
	if text = clean.Line(text, maxLogLine); text == "" || !s.meter.allow(time.Now()) {
		return
	}
	if path = clean.Line(path, maxLogLine); path != "" {
		s.log.Log(level, text, s.who("path", path)...)
	} else {
		s.log.Log(level, text, s.who()...)
	}
}

// who names the scan in a log line.
func (s *scan) who(more ...any) []any {
	return append([]any{"plugin", s.task.Plugin, "scan", s.task.Scan, "job", s.task.Job}, more...)
}

func progress(p *pluginv1.Progress) host.Progress {
	count := func(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
	return host.Progress{
		Phase: clean.Line(p.GetPhase(), 64), Unit: clean.Line(p.GetUnit(), 32), Message: clean.Line(p.GetMessage(), 256),
		Done: count(p.GetDone()), Total: count(p.GetTotal()),
	}
}

func logLevel(l pluginv1.Log_Level) hclog.Level {
	switch l {
	case pluginv1.Log_LEVEL_DEBUG:
		return hclog.Debug
	case pluginv1.Log_LEVEL_WARN:
		return hclog.Warn
	case pluginv1.Log_LEVEL_ERROR:
		return hclog.Error
	default:
		return hclog.Info
	}
}
