package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// window200 is what a test dispatches with that says nothing else.
func window200() host.DispatchQuery {
	return host.DispatchQuery{Plugins: []string{"p"}, Window: 200, Horizon: time.Hour}
}

// newTenant makes one.
func newTenant(t testing.TB, s *postgres.Store) host.TenantID {
	t.Helper()
	id := host.NewTenantID()
	if err := s.CreateTenant(t.Context(), host.Tenant{ID: id, Name: "t-" + string(id)}); err != nil {
		t.Fatal(err)
	}
	return id
}

// newcomer accepts a scan of a new tenant.
func newcomer(t *testing.T, s *postgres.Store) host.JobID {
	t.Helper()
	return acceptOne(t, s, newTenant(t, s)).Jobs[0].ID
}

func acceptOne(t *testing.T, s *postgres.Store, id host.TenantID) host.Scan {
	t.Helper()
	return acceptMany(t, s, id, 1)[0]
}

// acceptMany accepts scans of one job, all at once.
func acceptMany(t testing.TB, s *postgres.Store, id host.TenantID, n int) []host.Scan {
	t.Helper()
	scans := make([]host.Scan, n)
	for i := range scans {
		scans[i] = host.Scan{ID: host.NewScanID(), TenantID: id, Type: "web", Input: host.Input{URL: "u"},
			Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 3, Timeout: time.Hour}}}
	}
	scans, err := s.Accept(t.Context(), scans, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scans
}

func ring(t *testing.T, s *postgres.Store, q host.DispatchQuery) map[host.JobID]bool {
	t.Helper()
	out, err := s.Dispatch(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[host.JobID]bool{}
	for _, b := range out.Bells {
		jobs[b.Job] = true
	}
	return jobs
}

// finishAll ends whatever is out.
const finishAll = `update jobs set state = 'succeeded', finished_at = now(), result_epoch = lease_epoch, dispatched_at = null
	where state = 'queued' and dispatched_at is not null`

// TestBacklogOfOneTenant: 200,000 queued jobs of one tenant, and the first job
// of another is in the next window.
func TestBacklogOfOneTenant(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 2})
	execute(t, url, fmt.Sprintf(backlog, 1, 200_000))
	for range 3 {
		if out := ring(t, s, window200()); len(out) != 200 {
			t.Errorf("handed out %d, want the window", len(out))
		}
		job := newcomer(t, s)
		execute(t, url, finishAll)
		if out := ring(t, s, window200()); !out[job] {
			t.Error("the other tenant's job is not in the next window")
		}
		execute(t, url, finishAll)
	}
}

// TestNewcomerAmongMany: 1,000 tenants have backlogs, served a window at a time,
// and a newcomer's first job is in the next window, wherever in the round it
// comes. All of them have had their turn after a round.
func TestNewcomerAmongMany(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 2})
	execute(t, url, fmt.Sprintf(backlog, 1000, 6000))
	for window := range 11 {
		late := host.JobID("")
		if window%2 == 1 {
			late = newcomer(t, s)
		}
		out := ring(t, s, window200())
		if len(out) != 200 || late != "" && !out[late] {
			t.Errorf("window %d: handed out %d, the newcomer's among them: %v", window, len(out), out[late])
		}
		execute(t, url, finishAll)
	}
	conn := connect(t, url)
	var least, most int
	if err := conn.QueryRow(t.Context(), `select min(n), max(n) from (
		select count(*) filter (where state = 'succeeded') as n from jobs group by tenant_id having count(*) > 1) x`).Scan(&least, &most); err != nil {
		t.Fatal(err)
	}
	if least < 2 || most > 3 {
		t.Errorf("after two rounds tenants were served %d to %d times", least, most)
	}
}

// hangingAccept stores a job of an existing scan's tenant and does not commit.
func hangingAccept(t *testing.T, url string, scan host.Scan) (job host.JobID, commit func()) {
	t.Helper()
	conn := connect(t, url)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	job = host.NewJobID()
	if _, err := tx.Exec(t.Context(), `with j as (
		insert into jobs (id, tenant_id, scan_id, scan_type, ordinal, plugin, max_attempts, timeout_us)
		values ($1, $2, $3, 'web', 1, 'p', 3, 1000000) returning tenant_id, plugin, scan_type, priority
	), `+postgres.KeepLanes+` select 1`, string(job), string(scan.TenantID), string(scan.ID)); err != nil {
		t.Fatal(err)
	}
	return job, func() {
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLaneRace stores a job at the very moment in which Dispatch finds its lane
// empty. Each case is one thing that Dispatch can do meanwhile.
func TestLaneRace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before    time.Duration // how long the lane has been empty when the job comes
		meanwhile int           // how often Dispatch looks before the commit
		wait      time.Duration // between these looks
		mends     int
	}{
		"marked as empty":               {meanwhile: 1},
		"marked before":                 {before: time.Second, meanwhile: 2},
		"about to be dropped":           {before: 3 * time.Second, meanwhile: 2},
		"dropped: a commit of seconds":  {meanwhile: 2, wait: 3 * time.Second, mends: 1},
		"dropped, and nobody looked on": {meanwhile: 3, wait: 3 * time.Second, mends: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated.Postgres(t)
			s := open(t, postgres.Config{URL: url, MaxConns: 2})
			id := host.NewTenantID()
			if err := s.CreateTenant(t.Context(), host.Tenant{ID: id, Name: "t"}); err != nil {
				t.Fatal(err)
			}
			scan := acceptOne(t, s, id)
			if c.before > 0 { // marked
				ring(t, s, window200())
				age(t, url, c.before)
			} else { // live, and empty
				execute(t, url, `update jobs set state = 'canceled', finished_at = now()`)
			}
			job, commit := hangingAccept(t, url, scan)
			for range c.meanwhile {
				if out := ring(t, s, window200()); len(out) != 0 {
					t.Errorf("before the commit: %v", out)
				}
				if c.wait > 0 {
					ageLanes(t, url, c.wait)
				}
			}
			commit()
			out := ring(t, s, window200())
			if out[job] != (c.mends == 0) {
				t.Errorf("after the commit the job was handed out: %v, want %v", out[job], c.mends == 0)
			}
			if n, err := s.MendLanes(t.Context(), 10); err != nil || n != c.mends {
				t.Errorf("mended %d lanes, %v; want %d", n, err, c.mends)
			}
			if out := ring(t, s, window200()); out[job] != (c.mends == 1) {
				t.Errorf("after MendLanes the job was handed out: %v", out[job])
			}
		})
	}
}

func ageLanes(t *testing.T, url string, d time.Duration) {
	t.Helper()
	execute(t, url, fmt.Sprintf(`update lanes set empty_at = empty_at - interval '%s'`, d))
}

// TestMendLanesInSteps: every lane is lost, and each call mends as many as it
// may, wherever the one before stopped.
func TestMendLanesInSteps(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url, MaxConns: 2})
	execute(t, url, fmt.Sprintf(backlog, 25, 100)+`; delete from lanes`)
	if out := ring(t, s, window200()); len(out) != 0 {
		t.Fatalf("without lanes: %v", out)
	}
	for i, want := range []int{10, 10, 5, 0, 0} {
		if n, err := s.MendLanes(t.Context(), 10); err != nil || n != want {
			t.Errorf("call %d mended %d, %v; want %d", i, n, err, want)
		}
	}
	if out := ring(t, s, window200()); len(out) != 100 {
		t.Errorf("handed out %d, want all 100", len(out))
	}
}
