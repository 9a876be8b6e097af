package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// busyNow counts, at one moment, what is out or runs: the most of one tenant, of
// one plugin and of one scan type.
const busyNow = `
with busy as (select * from jobs where state = 'running' or (state = 'queued' and dispatched_at is not null))
select coalesce((select max(n) from (select count(*) as n from busy group by tenant_id) x), 0),
       coalesce((select max(n) from (select count(*) as n from busy group by plugin) x), 0),
       coalesce((select max(n) from (select count(*) as n from busy group by scan_type) x), 0),
       (select count(*) from jobs where state in ('queued', 'running'))`

// TestCapsWithThreeHosts: hosts dispatch, claim, finish, retry, release and lose
// doorbells side by side. No cap is exceeded at any moment at which somebody
// looks, and everything is done in the end.
func TestCapsWithThreeHosts(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	stores := make([]*postgres.Store, 3)
	for i := range stores {
		stores[i] = open(t, postgres.Config{URL: url, MaxConns: 3})
	}
	watch, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Close)
	draws := 0
	rapid.Check(t, func(rt *rapid.T) {
		if draws++; draws > 6 { // each is a storm of its own
			return
		}
		q := host.DispatchQuery{Plugins: []string{"p", "q"}, Window: rapid.IntRange(1, 12).Draw(rt, "window"), Horizon: time.Hour}
		most := func(label string) int { return rapid.IntRange(1, 5).Draw(rt, label) }
		tenant, plugin, scanType := most("tenant"), most("plugin"), most("type")
		q.Caps = host.Caps{Tenant: tenant, Plugins: map[string]int{"p": plugin, "q": plugin}, ScanTypes: map[string]int{"web": scanType, "code": scanType}}
		fill(t, stores, rapid.IntRange(1, 4).Draw(rt, "tenants"), 12)
		left := atomic.Int64{}
		left.Store(1)
		var wg sync.WaitGroup
		for i, s := range stores {
			w := worker{s: s, q: q, name: fmt.Sprint("host-", i), rng: rand.New(rand.NewPCG(uint64(draws), uint64(i)))}
			wg.Go(func() {
				for left.Load() > 0 && !t.Failed() {
					w.turn(t)
				}
			})
		}
		for left.Load() > 0 && !t.Failed() {
			var a, b, c int
			var n int64
			if err := watch.QueryRow(t.Context(), busyNow).Scan(&a, &b, &c, &n); err != nil {
				t.Error(err)
			}
			if a > tenant || b > plugin || c > scanType {
				t.Errorf("out or running: %d of a tenant, %d of a plugin, %d of a type; caps are %d, %d and %d", a, b, c, tenant, plugin, scanType)
			}
			left.Store(n)
		}
		wg.Wait()
	})
}

// fill accepts scans of two jobs for some new tenants.
func fill(t *testing.T, stores []*postgres.Store, tenants, scans int) {
	t.Helper()
	for range tenants {
		id := newTenant(t, stores[0])
		for i := range scans {
			scan := host.Scan{ID: host.NewScanID(), TenantID: id, Type: []string{"web", "code"}[i%2], Input: host.Input{URL: "u"},
				Priority: host.Priorities()[i%3]}
			for _, p := range []string{"p", "q"} {
				scan.Jobs = append(scan.Jobs, host.Job{ID: host.NewJobID(), Plugin: p, MaxAttempts: 100, Timeout: time.Hour})
			}
			if _, err := stores[i%len(stores)].Accept(t.Context(), []host.Scan{scan}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// worker is one host, of which every step is one of the store's.
type worker struct {
	s    *postgres.Store
	q    host.DispatchQuery
	name string
	rng  *rand.Rand
}

func (w *worker) turn(t *testing.T) {
	q := w.q
	q.Again = w.rng.IntN(8) == 0 // what nobody claimed is rung again, while others hold its doorbell
	q.Claim = host.AtOnce{Owner: w.name, TTL: time.Minute, Most: w.rng.IntN(4)}
	out, err := w.s.Dispatch(t.Context(), q)
	if err != nil {
		t.Error(err)
		return
	}
	var ids, back []host.JobID
	for _, b := range out.Bells {
		switch w.rng.IntN(8) {
		case 0: // lost
		case 1:
			back = append(back, b.Job)
		default:
			ids = append(ids, b.Job)
		}
	}
	if err := w.s.Undispatch(t.Context(), back); err != nil {
		t.Error(err)
	}
	claims, err := w.s.Claim(t.Context(), w.name, ids, time.Minute)
	if err != nil {
		t.Error(err)
	}
	var ends []host.Outcome
	for _, c := range append(claims, out.Claims...) {
		o := host.Outcome{Lease: c.Lease, State: host.StateSucceeded}
		switch w.rng.IntN(6) {
		case 0:
			o.State, o.Release = host.StateQueued, true
		case 1:
			o.State, o.RetryAfter = host.StateQueued, time.Millisecond
			o.Error = &host.JobError{Code: host.CodePluginFailed, Message: "it said so", Attempt: 1}
		}
		ends = append(ends, o)
	}
	if lost, err := w.s.Finish(t.Context(), ends); err != nil || len(lost) > 0 {
		t.Errorf("finish: lost %v, %v", lost, err)
	}
	if w.rng.IntN(10) == 0 {
		if _, err := w.s.MendLanes(t.Context(), 100); err != nil {
			t.Error(err)
		}
	}
}
