package chaos_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
)

// witnessSQL records every change of a job's state, lease, attempt or result,
// and every write at all to a job that is final, but for an operator's to a dead
// letter: a requeue counts as a change, a drop as none.
const witnessSQL = `
create table chaos_history (
    n bigserial primary key,
    at timestamptz not null default clock_timestamp(),
    began timestamptz not null default now(),
    app text not null default current_setting('application_name'),
    job uuid not null, attempts int not null, crashes int not null, error text,
    old_state text not null, old_epoch bigint not null, old_lease text not null, old_until timestamptz, old_attempt int not null, old_result bigint not null,
    new_state text not null, new_epoch bigint not null, new_lease text not null, new_attempt int not null, new_result bigint not null,
    requeued boolean not null
);
create function chaos_record() returns trigger language plpgsql as $$
begin
    insert into chaos_history (job, attempts, crashes, error, old_state, old_epoch, old_lease, old_until, old_attempt, old_result,
                               new_state, new_epoch, new_lease, new_attempt, new_result, requeued)
    values (new.id, new.max_attempts, new.crashes, new.error,
            old.state, old.lease_epoch, coalesce(old.lease_id::text, ''), old.lease_expires_at, old.attempt, coalesce(old.result_epoch, 0),
            new.state, new.lease_epoch, coalesce(new.lease_id::text, ''), new.attempt, coalesce(new.result_epoch, 0),
            old.dead_at is not null and new.dead_at is null and new.state = 'queued' and new.attempt = 0 and new.crashes = 0
                and new.started_at is null and new.lease_epoch = old.lease_epoch);
    return null;
end $$;
create trigger chaos_record after update on jobs for each row
when (old.state not in ('queued', 'running') and (old.dead_at is null or new.dead_at is not null or new.state <> old.state)
      or (old.state, old.lease_epoch, old.lease_id, old.attempt, old.result_epoch, old.lease_owner)
         is distinct from (new.state, new.lease_epoch, new.lease_id, new.attempt, new.result_epoch, new.lease_owner))
execute function chaos_record()`

func (c *cluster) witness() {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), witnessSQL); err != nil {
		c.t.Fatalf("install the witness: %v", err)
	}
}

// standing is what the witness has of a job at one moment.
type standing struct {
	State   host.State
	Epoch   int64
	Lease   string
	Attempt int
	Result  int64
}

// change is one line of the history.
type change struct {
	N         int64
	At, Began time.Time // of the change; of its transaction
	App       string    // which run of which host
	Job       string
	Attempts  int // allowed
	Crashes   int
	Error     *string
	Old, New  standing
	OldUntil  *time.Time // when the lease ran out
	Requeued  bool       // a dead letter, by an operator
}

func (c change) String() string {
	return fmt.Sprintf("%s %s: %+v -> %+v (crashes %d, lease until %v)", c.At.Format("15:04:05.000"), c.App, c.Old, c.New, c.Crashes, c.OldUntil)
}

func (c *cluster) history() []change {
	c.t.Helper()
	rows, err := c.db.Query(c.t.Context(), `
		select n, at, began, app, job::text, attempts, crashes, error, old_until,
		       old_state, old_epoch, old_lease, old_attempt, old_result, new_state, new_epoch, new_lease, new_attempt, new_result, requeued
		from chaos_history order by job, n`)
	if err != nil {
		c.t.Fatalf("read the history: %v", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (h change, err error) {
		return h, r.Scan(&h.N, &h.At, &h.Began, &h.App, &h.Job, &h.Attempts, &h.Crashes, &h.Error, &h.OldUntil,
			&h.Old.State, &h.Old.Epoch, &h.Old.Lease, &h.Old.Attempt, &h.Old.Result,
			&h.New.State, &h.New.Epoch, &h.New.Lease, &h.New.Attempt, &h.New.Result, &h.Requeued)
	})
	if err != nil {
		c.t.Fatalf("read the history: %v", err)
	}
	return all
}

// tally is what a history says of a storm.
type tally struct{ claims, releases, expiries, retries, delivered int }

// judge looks for what must never have happened, and counts what may.
func (c *cluster) judge(all []change) (broken []string, sum tally) {
	last := map[string]standing{}  // job -> where it stood
	claimed := map[string]string{} // lease -> who claimed it
	blame := map[string][]change{} // job -> its history
	for _, h := range all {
		blame[h.Job] = append(blame[h.Job], h)
		bad := func(format string, args ...any) {
			if len(broken) < 20 {
				broken = append(broken, fmt.Sprintf("job %s: ", h.Job)+fmt.Sprintf(format, args...)+" in:\n"+lines(blame[h.Job]))
			}
		}
		before, seen := last[h.Job]
		if !seen {
			before = standing{State: host.StateQueued}
		}
		last[h.Job] = h.New
		if h.Old != before {
			bad("the history has a gap")
		}
		if h.Requeued {
			if !h.Old.State.CanBecome(h.New.State) || h.New.Result != 0 {
				bad("it was requeued")
			}
			continue
		}
		if h.Old.State.Final() {
			bad("it was final and was written to")
			continue
		}
		if !h.Old.State.CanBecome(h.New.State) {
			bad("%s must not become %s", h.Old.State, h.New.State)
		}
		if h.New.Attempt > h.Attempts || h.New.Attempt < 0 {
			bad("attempt %d of %d", h.New.Attempt, h.Attempts)
		}
		delivers := h.New.State == host.StateSucceeded || h.New.State == host.StatePartial
		if delivers != (h.New.Result == h.New.Epoch && h.New.Result > 0) {
			bad("result of epoch %d", h.New.Result)
		}
		if h.New.State == host.StateRunning {
			sum.claims++
			claimed[h.New.Lease] = h.App
			if h.New.Epoch != h.Old.Epoch+1 || h.New.Attempt != h.Old.Attempt+1 || h.New.Lease == "" {
				bad("a claim must add one to epoch and attempt")
			}
			continue
		}
		if h.New.Epoch != h.Old.Epoch {
			bad("only a claim may change the epoch")
		}
		if h.Old.State != host.StateRunning {
			if h.New.Attempt != h.Old.Attempt {
				bad("the attempt changed while it waited")
			}
			continue
		}
		c.judgeEnd(h, claimed[h.Old.Lease], delivers, &sum, bad)
	}
	return broken, sum
}

// died reports whether a host had died by then.
func (c *cluster) died(name string, by time.Time) bool {
	end, dead := c.ended[name]
	return dead && !end.After(by)
}

// judgeEnd looks at the end of an attempt: only its own host may end it, or
// any once the lease has run out, or a later run of a host that is dead.
func (c *cluster) judgeEnd(h change, holder string, delivers bool, sum *tally, bad func(string, ...any)) {
	released := h.New.Attempt == h.Old.Attempt-1
	if !released && h.New.Attempt != h.Old.Attempt {
		bad("the attempt changed by more than a release")
	}
	expired := h.OldUntil != nil && h.OldUntil.Before(h.Began)
	switch {
	case released:
		sum.releases++
		if h.App != holder && !c.died(holder, h.At) {
			bad("%s released what %s held and was alive", h.App, holder)
		}
	case h.App != holder && delivers:
		bad("%s stored a result under the lease of %s", h.App, holder)
	case h.App != holder && !expired && !c.died(holder, h.At):
		bad("%s ended an attempt of %s, whose lease had not run out", h.App, holder)
	case expired && h.Error != nil && strings.Contains(*h.Error, "lease_expired"):
		sum.expiries++
	case delivers:
		sum.delivered++
	case h.New.State == host.StateQueued:
		sum.retries++
	}
}

func lines(all []change) string {
	var b strings.Builder
	for _, h := range all {
		fmt.Fprintf(&b, "    %v\n", h)
	}
	return b.String()
}

// keepEvidence writes the logs and the history of a failed test to a directory
// that stays.
func (c *cluster) keepEvidence() {
	if !c.t.Failed() {
		return
	}
	dir, err := os.MkdirTemp("", "chaos-evidence-")
	if err != nil {
		c.t.Error(err)
		return
	}
	for _, h := range c.hosts {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("host-%d.log", h.index)), []byte(h.Log(1<<30)), 0o600); err != nil {
			c.t.Error(err)
		}
	}
	if c.settings.embedded {
		c.t.Logf("evidence is in %s", dir)
		return
	}
	f, err := os.Create(filepath.Join(dir, "history.csv"))
	if err != nil {
		c.t.Error(err)
		return
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, withName(c.postgres, "witness"))
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close(ctx)
	for _, table := range []string{"chaos_history", "jobs", "scans"} {
		if _, err := conn.PgConn().CopyTo(ctx, f, "copy (select * from "+table+") to stdout csv header"); err != nil {
			c.t.Error(err)
		}
	}
	c.t.Logf("evidence is in %s", dir)
}
