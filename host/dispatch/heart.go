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
	lease    host.Lease
	stop     context.CancelCauseFunc
	progress atomic.Pointer[host.Progress]
	// trusted is until when this host may believe that it holds the lease, on
	// its own monotonic clock, counted from before the renewal was sent.
	trusted time.Time
}

func (p *patient) beat() host.Beat {
	b := host.Beat{Lease: p.lease}
	if pr := p.progress.Load(); pr != nil {
		b.Progress = *pr
	}
	return b
}

// heart renews every lease of this host in one statement a beat, hears of
// cancels, and stops runs whose lease is lost or can no longer be trusted.
type heart struct {
	store  host.JobStore
	every  time.Duration
	lease  time.Duration
	status outage

	mu       sync.Mutex
	patients map[host.Lease]*patient
}

func newHeart(store host.JobStore, cfg Config, log hclog.Logger) *heart {
	return &heart{
		store: store, every: cfg.Heartbeat, lease: cfg.Lease,
		status:   outage{log: log, what: "renew the leases of running jobs"},
		patients: map[host.Lease]*patient{},
	}
}

// admit starts to keep a lease that was claimed no earlier than began.
func (h *heart) admit(l host.Lease, began time.Time, stop context.CancelCauseFunc) *patient {
	p := &patient{lease: l, stop: stop, trusted: began.Add(h.trust())}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.patients[l] = p
	return p
}

// dismiss ends the care of a lease; it is a no-op for one that is not kept.
func (h *heart) dismiss(l host.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.patients, l)
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
	for sleep(ctx, h.every) {
		h.beat(ctx)
	}
}

func (h *heart) beat(ctx context.Context) {
	h.mu.Lock()
	patients := slices.Collect(maps.Values(h.patients))
	h.mu.Unlock()
	if len(patients) == 0 {
		return
	}
	beats := make([]host.Beat, len(patients))
	for i, p := range patients {
		beats[i] = p.beat()
	}
	began := time.Now()
	bctx, cancel := context.WithDeadline(ctx, h.answerBy(began, patients))
	pulses, err := h.store.Heartbeat(bctx, beats, h.lease)
	cancel()
	if !h.status.report(ctx, err) {
		h.distrust(patients)
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
		}
	}
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
