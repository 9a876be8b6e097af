package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/securetaghq/securetag/host"
)

// run takes one claimed job to its stored outcome.
func (d *Dispatcher) run(jobs context.Context, c host.Claim, began time.Time) {
	ctx, stop := context.WithCancelCause(jobs)
	defer stop(nil)
	ctx, stopTimer := context.WithTimeoutCause(ctx, c.Remaining, errDeadline)
	defer stopTimer()
	patient := d.heart.admit(c, began, stop)
	defer d.heart.dismiss(c.Lease)

	who := []any{"scan", c.Scan.ID, "job", c.Job.ID, "plugin", c.Job.Plugin, "attempt", c.Job.Attempt}
	d.log.Debug("job started", who...)
	var stored host.Outcome // what the meter hears of; nothing while the lease may be lost
	defer d.meter(c, began, &stored)()
	d.publisher.tell(eventOf(c, host.EventStarted))
	sink := &sink{store: d.store, blobs: d.cfg.Artifacts, lease: c.Lease, patient: patient}
	report, err := d.attempt(ctx, c, sink)
	patient.over.Store(true)
	if cause := context.Cause(ctx); errors.Is(cause, errLeaseLost) {
		// Another host has it, or will: whatever was found here is not the result.
		sink.drop(ctx)
		d.log.Warn("job dropped: its lease was lost while it ran", who...)
		return
	}
	outcome := d.outcome(ctx, c, report, err, sink)
	if len(outcome.Artifacts) == 0 {
		sink.drop(ctx)
	}
	switch err := d.finisher.finish(outcome, time.Now().Add(d.cfg.Lease)); {
	case errors.Is(err, host.ErrLeaseLost):
		d.log.Warn("job dropped: its lease was lost before its result was stored", who...)
	case err != nil:
		d.log.Error("job's result was not stored; it runs again when its lease ends", append(who, "error", err)...)
	default:
		d.publisher.tell(endOf(c, outcome, sink.total))
		stored = outcome
		who = append(who, "state", outcome.State, "findings", sink.total, "ms", time.Since(began).Milliseconds())
		if outcome.Error != nil {
			who = append(who, "error", string(outcome.Error.Code)+": "+outcome.Error.Message)
		}
		d.log.Info("job ended", who...)
	}
	if outcome.State == host.StateQueued {
		d.relay.wake() // to learn when it is due
	}
}

// attempt prepares the place and runs the plugin. A panic of this host's own
// code fails the one job.
func (d *Dispatcher) attempt(ctx context.Context, c host.Claim, s *sink) (report host.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("panic while running a job", "job", c.Job.ID, "panic", p, "stack", string(debug.Stack()))
			err = &host.Fault{Code: host.CodeInternal, Message: "this host failed while it ran the job; its log has the details", Retryable: true, Crashed: true}
		}
	}()
	hosts, err := d.permitted(ctx, c.Scan)
	if err != nil {
		return host.Report{}, err
	}
	secret, err := d.secrets(c.Scan)
	if err != nil {
		return host.Report{}, err
	}
	place, err := d.workspaces.Prepare(ctx, c, s.Progress)
	if err != nil {
		return host.Report{}, err
	}
	defer place.Release()
	options, shared := c.Scan.OptionsFor(c.Job.Plugin)
	return d.executor.Run(ctx, host.Task{
		Plugin: c.Job.Plugin, Tenant: c.Job.TenantID, Scan: c.Scan.ID, Job: c.Job.ID, Attempt: c.Job.Attempt, ScanType: c.Scan.Type,
		Root: place.Root, URL: c.Scan.Input.URL, PermittedHosts: hosts, DisplayName: displayName(c.Scan),
		WorkDir: place.WorkDir, Options: options, Shared: shared, Secret: secret, Give: place.Give,
		Findings: c.Job.Findings, Artifacts: c.Job.Artifacts,
	}, s)
}

// permitted gives what the scan of a URL may call. It was asked for when the scan
// was accepted, and may have ended since.
func (d *Dispatcher) permitted(ctx context.Context, s host.Scan) ([]string, error) {
	if s.Input.URL == "" || d.cfg.Permit == nil {
		return nil, nil
	}
	hosts, err := d.cfg.Permit(ctx, s.TenantID, s.Input.URL)
	switch {
	case errors.Is(err, host.ErrNotPermitted):
		return nil, &host.Fault{Code: host.CodeTargetForbidden, Message: "not started: " + err.Error()}
	case err != nil:
		return nil, &host.Fault{Code: host.CodeInternal, Message: "this host could not find out whether the target may be scanned", Retryable: true, Err: err}
	case len(hosts) == 0: // which would read as every one
		return nil, &host.Fault{Code: host.CodeTargetForbidden, Message: "not started: the target may not be scanned"}
	}
	return hosts, nil
}

func displayName(s host.Scan) string {
	switch {
	case s.Input.Archive != nil && s.Input.Archive.Filename != "":
		return s.Input.Archive.Filename
	case s.Input.URL != "":
		return s.Input.URL
	default:
		return s.Project
	}
}

// outcome turns how an attempt ended into what is stored of it.
func (d *Dispatcher) outcome(ctx context.Context, c host.Claim, r host.Report, err error, s *sink) host.Outcome {
	o := host.Outcome{Lease: c.Lease, Progress: s.last()}
	fail := func(code host.ErrorCode, format string, args ...any) {
		o.Error = &host.JobError{Code: code, Message: fmt.Sprintf(format, args...), Attempt: c.Job.Attempt}
	}
	if err == nil && (r.State == host.StateSucceeded || r.State == host.StatePartial) {
		// It made it, whatever has happened to the context since.
		o.State, o.Findings, o.Artifacts, o.Remarks = r.State, s.tail, s.artifacts, s.remarks
		if r.State == host.StateSucceeded {
			o.Remarks.NotApplicable = r.Reason
		}
		if r.State == host.StatePartial {
			fail(host.CodePartial, "%s", r.Reason)
		}
		return o
	}

	var fault *host.Fault
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCanceled):
		o.State = host.StateCanceled
	case errors.Is(cause, errDeadline):
		o.State = host.StateTimedOut
		fail(host.CodeTimedOut, "stopped: it ran longer than the %v that scan type %q allows", c.Job.Timeout, c.Scan.Type)
	case errors.Is(cause, errStopping):
		o.State, o.Release = host.StateQueued, true
	case errors.As(err, &fault):
		fail(fault.Code, "%s", fault.Message)
		d.retryOrFail(&o, c, fault.Retryable, fault.Crashed)
		if fault.Err != nil {
			d.log.Debug("attempt failed", "job", c.Job.ID, "error", fault)
		}
	case err != nil:
		d.log.Error("attempt failed for a reason that no fault names", "job", c.Job.ID, "error", err)
		fail(host.CodeInternal, "this host failed while it ran the job; its log has the details")
		d.retryOrFail(&o, c, true, false)
	default: // failed, or canceled though nobody asked
		fail(host.CodePluginFailed, "%s", r.Reason)
		d.retryOrFail(&o, c, r.Retryable && r.State == host.StateFailed, false)
	}
	return o
}

func (d *Dispatcher) retryOrFail(o *host.Outcome, c host.Claim, retryable, crashed bool) {
	o.Crashed = crashed
	poison := crashed && c.Job.Crashes+1 >= host.CrashLimit
	if !retryable || poison || c.Job.Attempt >= c.Job.MaxAttempts {
		o.State, o.Dead = host.StateFailed, mendable(o.Error.Code, retryable)
		return
	}
	o.State = host.StateQueued
	o.RetryAfter = d.cfg.Backoff(c.Scan.Type).After(c.Job.Attempt)
}

// mendable reports whether an operator can do something about a job that failed
// for good, and then requeue it. A request that was refused is refused again; so
// is an archive that does not unpack, and what the plugin itself calls hopeless.
func mendable(code host.ErrorCode, retryable bool) bool {
	switch code {
	case host.CodePluginRefused, host.CodeTargetForbidden, host.CodeSecretsGone:
		return false
	case host.CodeInputUnusable, host.CodePluginFailed:
		return retryable
	}
	return true
}
