package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	flushEvery    = 200 * time.Millisecond
	progressEvery = 250 * time.Millisecond
	heartbeat     = 2 * time.Second
)

// run is one Scan call. The author's code runs in a goroutine of its own and
// fills out; pump, in the call's goroutine, is the only one that sends.
type run struct {
	stream pluginv1.Scanner_ScanServer
	log    hclog.Logger
	out    *Out
	cancel context.CancelCauseFunc // of the author's context
	graces chan time.Duration      // the first Cancel's
	beat   time.Duration
	sent   uint64 // findings

	mu      sync.Mutex
	stopped bool
	reason  string // of the Cancel
	fault   error  // a violation of the contract by the author
}

func newRun(req *pluginv1.ScanRequest, stream pluginv1.Scanner_ScanServer, cancel context.CancelCauseFunc, log hclog.Logger, rules map[string]bool) *run {
	limits := req.GetLimits()
	r := &run{stream: stream, cancel: cancel, log: log, graces: make(chan time.Duration, 1), beat: heartbeat}
	if limits.GetMaxSilence() != nil {
		r.beat = min(r.beat, max(limits.GetMaxSilence().AsDuration()/3, progressEvery))
	}
	r.out = newOut(log, rules, limits.GetMaxFindings(), r.violate)
	r.out.keep = &keep{dir: req.GetWorkDir(), most: limits.GetMaxArtifacts(), bytes: limits.GetMaxArtifactsBytes()}
	return r
}

// stop asks the author's code to end within grace. Only the first time counts.
func (r *run) stop(reason string, grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if reason == "" {
		reason = "the host asked for it"
	}
	r.stopped, r.reason = true, reason
	r.graces <- grace
	r.cancel(errCancelled)
}

func (r *run) violate(err error) {
	r.mu.Lock()
	if r.fault == nil {
		r.fault = err
	}
	r.mu.Unlock()
	r.cancel(err)
}

// pump sends events until the author's code has ended, and then Completed.
func (r *run) pump(done <-chan error) error {
	defer r.cancel(errEnded)
	flush, progress := time.NewTicker(flushEvery), time.NewTicker(progressEvery)
	defer flush.Stop()
	defer progress.Stop()
	var overdue <-chan time.Time
	last := time.Now()
	err := r.send(r.out.latest(true))
	for err == nil {
		select {
		case batch := <-r.out.full:
			err = r.send(findingsEvent(batch))
		case <-flush.C:
			err = r.send(r.out.flush()...)
		case <-progress.C:
			if ev := r.out.latest(time.Since(last) >= r.beat); ev != nil {
				last = time.Now()
				err = r.send(ev)
			}
		case grace := <-r.graces:
			t := time.NewTimer(grace)
			defer t.Stop()
			overdue = t.C
		case <-overdue:
			return r.finish(errOverdue)
		case scanErr := <-done:
			return r.finish(scanErr)
		case <-r.stream.Context().Done():
			err = status.FromContextError(r.stream.Context().Err()).Err()
		}
	}
	// Nobody listens any more. The call stays open until the author's code has
	// ended, because it still uses the target.
	r.cancel(err)
	r.out.end()
	if scanErr := <-done; scanErr != nil && !errors.Is(scanErr, context.Canceled) {
		r.log.Warn("a scan that nobody waits for ended", "error", oneLine(scanErr.Error(), maxTitle))
	}
	return err
}

func (r *run) send(events ...*pluginv1.ScanEvent) error {
	for _, ev := range events {
		if err := r.stream.Send(ev); err != nil {
			return err
		}
		r.sent += uint64(len(ev.GetFindings().GetFindings()))
	}
	return nil
}

// finish sends what is left and how the scan ended.
func (r *run) finish(scanErr error) error {
	var refused *refusal
	if errors.As(scanErr, &refused) && !r.wasStopped() {
		r.out.end()
		return status.Error(codes.InvalidArgument, oneLine(scanErr.Error(), maxMessage))
	}
	completed := r.out.end()
	// An author's goroutine may be waiting to hand over a batch.
	rest := r.out.flush()
	select {
	case batch := <-r.out.full:
		rest = append(rest, findingsEvent(batch))
	default:
	}
	if err := r.send(rest...); err != nil {
		return err
	}
	r.conclude(completed, scanErr)
	completed.Findings = r.sent
	return r.send(&pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Completed{Completed: completed}})
}

func (r *run) wasStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// conclude sets status and reason.
func (r *run) conclude(c *pluginv1.Completed, scanErr error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var p *panicked
	var retry *retryable
	var nothing *notApplicable
	if errors.As(scanErr, &p) {
		r.log.Error("the scanner panicked", "panic", clean(fmt.Sprint(p.value), maxTitle), "stack", string(p.stack))
	}
	switch {
	case r.fault != nil:
		c.Status, c.Reason = pluginv1.Completed_STATUS_FAILED, r.fault.Error()
	case p != nil:
		c.Status, c.Reason = pluginv1.Completed_STATUS_FAILED, p.Error()
	case r.stopped:
		c.Status, c.Reason = pluginv1.Completed_STATUS_CANCELLED, "cancelled: "+r.reason
		if errors.Is(scanErr, errOverdue) {
			c.Reason += " (" + errOverdue.Error() + ")"
			r.log.Warn("the scanner did not stop within its grace")
		}
	case errors.As(scanErr, &nothing):
		r.notApplicable(c, scanErr.Error())
	case scanErr != nil:
		c.Status, c.Reason = pluginv1.Completed_STATUS_FAILED, scanErr.Error()
		c.Retryable = errors.As(scanErr, &retry)
	}
	c.Reason = oneLine(c.Reason, 1<<10)
	if c.Reason == "" && c.Status != pluginv1.Completed_STATUS_SUCCEEDED {
		c.Reason = "the scanner gave no reason"
	}
}

// notApplicable is the end of a scan that says so. What was not looked at may
// have been what it looks for, so partial stays partial.
func (r *run) notApplicable(c *pluginv1.Completed, reason string) {
	switch {
	case r.sent > 0:
		c.Status = pluginv1.Completed_STATUS_FAILED
		c.Reason = fmt.Sprintf("the scanner reported %d findings and says that there is nothing it looks at: %s", r.sent, reason)
	case c.Status == pluginv1.Completed_STATUS_PARTIAL:
		c.Reason = reason + "; " + c.Reason
	default:
		c.Status, c.Reason = pluginv1.Completed_STATUS_NOT_APPLICABLE, reason
	}
}
