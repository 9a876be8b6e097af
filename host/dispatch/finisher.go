package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// finisher stores outcomes. Those that come while a commit is under way share
// the next, and while other jobs run the first waits a moment for theirs, so
// that a busy host commits batches and an idle one waits for nobody.
type finisher struct {
	store  host.JobStore
	busy   func() int // jobs that run now, those that wait here among them
	freed  func()     // a job has ended
	in     chan finish
	status outage
	log    hclog.Logger
}

type finish struct {
	outcome host.Outcome
	// give up then: the lease cannot be held any longer.
	until time.Time
	done  chan error
}

const (
	maxBatch = 128
	// linger is how long an outcome waits for others: less than a commit takes.
	linger = 2 * time.Millisecond
	// commitTimeout is short, because stopping waits for a store that hangs.
	commitTimeout = 5 * time.Second
)

func newFinisher(store host.JobStore, busy func() int, freed func(), log hclog.Logger) *finisher {
	return &finisher{
		store: store, busy: busy, freed: freed, in: make(chan finish),
		status: outage{log: log, what: "store the results of finished jobs"},
		log:    log,
	}
}

// finish stores one outcome and returns nil once it is stored, host.ErrLeaseLost
// when the job was no longer this host's.
func (f *finisher) finish(o host.Outcome, until time.Time) error {
	req := finish{outcome: o, until: until, done: make(chan error, 1)}
	f.in <- req
	return <-req.done
}

// run stores until ctx ends; nobody may be in finish then.
func (f *finisher) run(ctx context.Context) {
	var batch []finish
	for {
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case req := <-f.in:
				batch = append(batch, req)
			}
		}
		batch = f.commit(ctx, f.gather(batch))
	}
}

// gather adds the outcomes that are there, and those that come within the
// linger, as long as jobs run from which one may come.
func (f *finisher) gather(batch []finish) []finish {
	enough := time.NewTimer(linger)
	defer enough.Stop()
	for len(batch) < min(maxBatch, f.busy()) {
		select {
		case req := <-f.in:
			batch = append(batch, req)
		case <-enough.C:
			return batch
		}
	}
	return batch
}

// commit tries one transaction and returns what must be tried again.
func (f *finisher) commit(ctx context.Context, batch []finish) []finish {
	outcomes := make([]host.Outcome, len(batch))
	for i, req := range batch {
		outcomes[i] = req.outcome
	}
	sctx, cancel := context.WithTimeout(ctx, commitTimeout)
	lost, err := f.store.Finish(sctx, outcomes)
	cancel()
	if f.status.report(ctx, err) {
		f.freed()
		gone := make(map[host.Lease]bool, len(lost))
		for _, l := range lost {
			gone[l] = true
		}
		for _, req := range batch {
			if gone[req.outcome.Lease] {
				req.done <- host.ErrLeaseLost
			} else {
				req.done <- nil
			}
		}
		return nil
	}
	if !errors.Is(err, host.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) && len(batch) > 1 {
		// One bad outcome must not hold up the others.
		var again []finish
		for _, req := range batch {
			again = append(again, f.commit(ctx, []finish{req})...)
		}
		return again
	}
	return f.keep(ctx, batch, err)
}

// keep drops what can no longer be stored: by then the lease has run out and
// another host does the job again.
func (f *finisher) keep(ctx context.Context, batch []finish, err error) []finish {
	var again []finish
	now := time.Now()
	for _, req := range batch {
		transient := errors.Is(err, host.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
		if transient && now.Before(req.until) {
			again = append(again, req)
		} else {
			req.done <- err
		}
	}
	if len(again) > 0 {
		sleep(ctx, 200*time.Millisecond)
	}
	return again
}
