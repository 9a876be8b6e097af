package dispatch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// Why a run's context ended.
var (
	errCanceled  = errors.New("canceled by its tenant")
	errDeadline  = errors.New("over its deadline")
	errLeaseLost = errors.New("lease lost")
	errStopping  = errors.New("this host is stopping")
)

// patient is one run whose lease the heart keeps.
type patient struct {
	claim    host.Claim
	lease    host.Lease
	stop     context.CancelCauseFunc
	progress atomic.Pointer[host.Progress]
	findings atomic.Int64
	told     news // the heart's goroutine alone
	// over says that the run has its outcome: what it tells next is that.
	over atomic.Bool
	// trusted is until when this host may believe that it holds the lease, on
	// its own monotonic clock, counted from before the renewal was sent.
	trusted time.Time
}

func (p *patient) beat() host.Beat {
	return host.Beat{Lease: p.lease, Progress: p.news().progress}
}

// news is what a run has to tell while it goes on.
type news struct {
	progress host.Progress
	findings int64
}

func (p *patient) news() news {
	n := news{findings: p.findings.Load()}
	if pr := p.progress.Load(); pr != nil {
		n.progress = *pr
	}
	return n
}

// heart renews every lease of this host in one statement a beat, hears of
// cancels, and stops runs whose lease is lost or can no longer be trusted.
// Nothing but the store's answer stops a run: who is told of a cancel makes the
// heart ask sooner.
type heart struct {
	store  host.JobStore
	tell   func(host.Event)
	every  time.Duration
	lease  time.Duration
	status outage
	asked  chan struct{} // somebody's next beat is due at once

	mu       sync.Mutex
	patients map[host.Lease]*patient
	scans    map[host.ScanID]int      // patients of each
	due      map[host.ScanID]struct{} // to ask about
	// recent are scans that were asked about and had no patient here, in this
	// beat and the one before: a job may be claimed already and not yet admitted.
	recent, before map[host.ScanID]struct{}
}

// maxRecent bounds recent; further ones wait for a beat.
const maxRecent = 1024

// askPause spaces beats that somebody asked for, whoever that was.
const askPause = 50 * time.Millisecond

func newHeart(store host.JobStore, tell func(host.Event), cfg Config, log hclog.Logger) *heart {
	return &heart{
		store: store, tell: tell, every: cfg.Heartbeat, lease: cfg.Lease,
		status:   outage{log: log, what: "renew the leases of running jobs"},
		asked:    make(chan struct{}, 1),
		patients: map[host.Lease]*patient{},
		scans:    map[host.ScanID]int{}, due: map[host.ScanID]struct{}{},
		recent: map[host.ScanID]struct{}{}, before: map[host.ScanID]struct{}{},
	}
}

// admit starts to keep a lease that was claimed no earlier than began.
func (h *heart) admit(c host.Claim, began time.Time, stop context.CancelCauseFunc) *patient {
	p := &patient{claim: c, lease: c.Lease, stop: stop, trusted: began.Add(h.trust())}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.patients[p.lease] = p
	h.scans[c.Scan.ID]++
	_, now := h.recent[c.Scan.ID]
	if _, earlier := h.before[c.Scan.ID]; now || earlier {
		h.demand(c.Scan.ID)
	}
	return p
}

// dismiss ends the care of a lease; it is a no-op for one that is not kept.
func (h *heart) dismiss(l host.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.patients[l]
	if !ok {
		return
	}
	delete(h.patients, l)
	scan := p.claim.Scan.ID
	if h.scans[scan]--; h.scans[scan] == 0 {
		delete(h.scans, scan)
		delete(h.due, scan)
	}
}

// ask makes the heart ask the store at once about a scan that may have been
// canceled, about all for "". It does not block.
func (h *heart) ask(scan host.ScanID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case scan == "":
		for s := range h.scans {
			h.demand(s)
		}
	case h.scans[scan] > 0:
		h.demand(scan)
	case len(h.recent) < maxRecent:
		h.recent[scan] = struct{}{}
	}
}

// demand makes a beat due; the caller holds mu.
func (h *heart) demand(scan host.ScanID) {
	h.due[scan] = struct{}{}
	select {
	case h.asked <- struct{}{}:
	default:
	}
}

// running is how many leases are kept: the jobs of this host.
func (h *heart) running() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.patients)
}

// trust is less than the lease by one beat: the plugin must have stopped when
// another host may start it.
func (h *heart) trust() time.Duration { return h.lease - h.every }

func (h *heart) run(ctx context.Context) {
	every := time.NewTicker(h.every)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			h.settle()
			all := h.all()
			h.beat(ctx, all, all)
		case <-h.asked:
			h.beat(ctx, h.someDue(), h.all())
			if !sleep(ctx, min(askPause, h.every)) {
				return
			}
		}
	}
}

// settle forgets what was asked: a regular beat answers all of it.
func (h *heart) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.due)
	clear(h.before)
	h.before, h.recent = h.recent, h.before
}

func (h *heart) all() []*patient {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.patients))
}

// someDue are those that somebody asked about.
func (h *heart) someDue() (out []*patient) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.patients {
		if _, ok := h.due[p.claim.Scan.ID]; ok {
			out = append(out, p)
		}
	}
	clear(h.due)
	return out
}

// beat renews the leases of patients. It takes no longer than any lease of all
// can be trusted.
func (h *heart) beat(ctx context.Context, patients, all []*patient) {
	if len(patients) == 0 {
		return
	}
	beats := make([]host.Beat, len(patients))
	for i, p := range patients {
		beats[i] = p.beat()
	}
	began := time.Now()
	bctx, cancel := context.WithDeadline(ctx, h.answerBy(began, all))
	pulses, err := h.store.Heartbeat(bctx, beats, h.lease)
	cancel()
	if !h.status.report(ctx, err) {
		h.distrust(all)
		return
	}
	alive := make(map[host.Lease]bool, len(pulses)) // -> cancel requested
	for _, p := range pulses {
		alive[p.Lease] = p.CancelRequested
	}
	for _, p := range patients {
		canceled, ok := alive[p.lease]
		switch {
		case !ok:
			p.stop(errLeaseLost)
			h.dismiss(p.lease)
		case canceled:
			p.stop(errCanceled)
			fallthrough
		default:
			p.trusted = began.Add(h.trust())
			h.report(p)
		}
	}
}

// report tells what is new of a run since it was last told.
func (h *heart) report(p *patient) {
	n := p.news()
	if n == p.told || p.over.Load() {
		return
	}
	p.told = n
	e := eventOf(p.claim, host.EventProgress)
	e.Progress, e.Findings = n.progress, int(n.findings)
	h.tell(e)
}

// answerBy is when a beat has failed: a third of the lease, or sooner when some
// lease can be trusted no longer than that.
func (h *heart) answerBy(now time.Time, patients []*patient) time.Time {
	by := now.Add(h.lease / 3)
	for _, p := range patients {
		if p.trusted.Before(by) {
			by = p.trusted
		}
	}
	return by
}

// distrust stops the runs whose lease may have run out while the store did not
// answer.
func (h *heart) distrust(patients []*patient) {
	now := time.Now()
	for _, p := range patients {
		if !now.Before(p.trusted) {
			p.stop(errLeaseLost)
			h.dismiss(p.lease)
		}
	}
}
