package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func cancelChecks() []check {
	const abandon = "Watch the context of the call, stop the scan soon when it ends, and count the scan as over."
	return []check{
		must("cancel.unknown", configured, "Cancel of a run that is not there answers known = false",
			"Answer with known = false, and without a gRPC error: the run may have ended a moment ago.",
			contract("CancelResponse.known"), (*kit).cancelsNothing),
		must("cancel.running", treeStage, "A scan that is cancelled ends within the grace with CANCELLED",
			"Look for the cancel between files and within long ones. Then send what there is, Completed CANCELLED with a reason, and end the stream.",
			contract("Cancel"), (*kit).cancels),
		must("cancel.deadline", treeStage, "A scan whose deadline is over stops, and the process takes the next",
			abandon, contract("Scan"), func(k *kit, ctx context.Context) outcome {
				return k.abandons(ctx, context.WithTimeout)
			}),
		must("cancel.context", treeStage, "A scan that nobody waits for any more stops, and the process takes the next",
			abandon, contract("Scan"), func(k *kit, ctx context.Context) outcome {
				return k.abandons(ctx, func(c context.Context, after time.Duration) (context.Context, context.CancelFunc) {
					c, cancel := context.WithCancel(c)
					time.AfterFunc(after, cancel)
					return c, cancel
				})
			}),
		should("cancel.paused", treeStage, "A process that is stopped for a while (SIGSTOP, SIGCONT) ends its scan well",
			"Do not take a gap in time for a fault: machines sleep, and hosts are paused.",
			contract("Scan"), (*kit).survivesPause),
		must("cancel.drain", configured, "After Drain it refuses scans with UNAVAILABLE, and answers when none runs",
			"Keep a flag that Scan looks at first, and answer Drain when the last scan has ended or the grace is over.",
			contract("Drain"), (*kit).drains),
	}
}

// An abandoned scan has run for abandonAfter, or up to abandonAtMost where nothing
// was heard of it: on a busy machine it may not have begun.
const (
	abandonAfter  = 50 * time.Millisecond
	abandonAtMost = 8 * abandonAfter
)

func (k *kit) cancelsNothing(ctx context.Context) outcome {
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	known, err := k.cancel(ctx, p, "conformance/no-such-run")
	switch {
	case err != nil:
		return failed("%v", p.explain("Cancel", err))
	case known:
		return failed("known is true for a run that never was")
	}
	return pass()
}

func (k *kit) cancel(ctx context.Context, p *proc, id string) (known bool, err error) {
	call, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	resp, err := p.api.Cancel(call, &pluginv1.CancelRequest{RunId: id, Reason: "the conformance test", Grace: durationpb.New(k.opts.Grace)})
	return resp.GetKnown(), err
}

// cancels tries a few times, because a fast scan may end before it hears of the
// cancel.
func (k *kit) cancels(ctx context.Context) outcome {
	many, err := k.tree(manyTree)
	if err != nil {
		return k.trouble(err)
	}
	late := false
	for range 3 {
		p, err := k.scanner(ctx)
		if err != nil {
			return k.trouble(err)
		}
		var known bool
		var asked time.Time
		t, scanErr := k.during(ctx, p, request{tree: many}, func(id string) {
			asked = time.Now()
			known, err = k.cancel(ctx, p, id)
		})
		after := time.Since(asked).Round(time.Millisecond)
		if scanErr != nil {
			return k.trouble(scanErr)
		}
		switch s := t.completed.GetStatus(); {
		case err != nil:
			return failed("%v", p.explain("Cancel", err))
		case t.ended() != "" && (known || s != pluginv1.Completed_STATUS_FAILED):
			return failed("%s after Cancel: %s", after, t.ended())
		case after > k.opts.Grace+time.Second:
			return failed("it went on for %s after Cancel, and the grace is %s", after, k.opts.Grace)
		case !errors.Is(t.err, io.EOF) || t.completed == nil:
			return failed("after Cancel the stream ended without Completed: %v", t.err)
		case s == pluginv1.Completed_STATUS_CANCELLED && !known:
			return failed("the scan was CANCELLED, and Cancel answered that it knows no such run")
		case s == pluginv1.Completed_STATUS_CANCELLED:
			return pass()
		case known:
			late = true // it may have been at its very end; not three times
		}
	}
	if late {
		return failed("Cancel was answered with known = true, and the scan went on to its end")
	}
	return notApplicable("every scan ended before it could be cancelled")
}

// abandons leaves a scan alone, and sees whether the process has room for
// another soon after.
func (k *kit) abandons(ctx context.Context, leave func(context.Context, time.Duration) (context.Context, context.CancelFunc)) outcome {
	many, err := k.tree(manyTree)
	if err != nil {
		return k.trouble(err)
	}
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	slots := int(min(max(k.desc.GetMaxConcurrentScans(), 1), mostAtOnce))
	for range slots { // all of them, so that none is left to hide in
		for after, heard := abandonAfter, false; !heard && after <= abandonAtMost; after *= 2 {
			call, stop := leave(ctx, after)
			t, err := k.scan(call, p, request{tree: many})
			stop()
			if err != nil && ctx.Err() != nil {
				return k.trouble(err)
			}
			if t.died != "" {
				return failed("%s", t.died)
			}
			heard = t.events > 0
		}
	}
	return k.takesNext(ctx, p)
}

// takesNext asks for scans until one is taken, for a grace.
func (k *kit) takesNext(ctx context.Context, p *proc) outcome {
	r, err := k.smallest()
	if err != nil {
		return k.trouble(err)
	}
	began := time.Now()
	for {
		t, err := k.scan(ctx, p, r)
		switch {
		case err != nil:
			return k.trouble(err)
		case t.taken():
			return pass()
		case t.died != "" || t.timedOut || time.Since(began) > k.opts.Grace:
			k.drop()
			return failed("%s later it does not take the next scan: %s", time.Since(began).Round(time.Millisecond), why(t))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return k.trouble(err)
		}
	}
}

// why is how a scan ended, when not well.
func why(t *transcript) string {
	if s := t.ended(); s != "" {
		return s
	}
	return fmt.Sprint(t.err)
}

// pause waits: what another process does can only be looked at again.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *kit) survivesPause(ctx context.Context) outcome {
	many, err := k.tree(manyTree)
	if err != nil {
		return k.trouble(err)
	}
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	t, err := k.during(ctx, p, request{tree: many, timeout: k.opts.ScanTimeout + k.opts.Pause}, func(string) {
		if syscall.Kill(p.PID(), syscall.SIGSTOP) == nil {
			_ = pause(ctx, k.opts.Pause)
			_ = syscall.Kill(p.PID(), syscall.SIGCONT)
		}
	})
	switch {
	case err != nil:
		return k.trouble(err)
	case !t.taken():
		return failed("%s", why(t))
	}
	return pass()
}

// drains drains a process in the middle of a scan.
func (k *kit) drains(ctx context.Context) outcome {
	p, err := k.ready(ctx)
	if err != nil {
		return k.trouble(err)
	}
	defer p.stop()
	r, err := k.smallest()
	if err != nil {
		return k.trouble(err)
	}
	busy := r
	if k.takes(pluginv1.Input_INPUT_TREE) {
		many, err := k.tree(manyTree)
		if err != nil {
			return k.trouble(err)
		}
		busy = request{tree: many}
	}
	var drainErr error
	var left uint32
	t, err := k.during(ctx, p, busy, func(string) {
		call, stop := context.WithTimeout(ctx, k.opts.ScanTimeout+k.opts.Grace)
		defer stop()
		var resp *pluginv1.DrainResponse
		resp, drainErr = p.api.Drain(call, &pluginv1.DrainRequest{Grace: durationpb.New(k.opts.ScanTimeout)})
		left = resp.GetActiveScans()
	})
	switch {
	case err != nil:
		return k.trouble(err)
	case drainErr != nil:
		return failed("%v", p.explain("Drain", drainErr))
	case !t.taken() && k.takes(pluginv1.Input_INPUT_TREE):
		return failed("the scan that ran when Drain came: %s", why(t))
	case left != 0:
		return failed("Drain answered that %d scans are running, and there is none", left)
	}
	next, err := k.scan(ctx, p, r)
	switch {
	case err != nil:
		return k.trouble(err)
	case next.completed != nil:
		return failed("a scan after Drain was taken, and was %s", statusName(next.completed.GetStatus()))
	case status.Code(next.err) != codes.Unavailable || next.died != "":
		return failed("a scan after Drain: %s", why(next))
	}
	return pass()
}
