package sqlite

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql"

	"github.com/securetaghq/securetag/host"
)

// lane is the queued jobs of a tenant, a plugin, a scan type and a priority.
type lane struct {
	tenant           host.TenantID
	plugin, scanType string
	priority         int

	read  bool
	ready []readyJob // read ahead
	end   bool       // nothing that is ready is behind ready
	wakes int64      // when the first job behind the end becomes ready; 0: none
}

type readyJob struct {
	id    host.JobID
	runAt int64
}

// ahead is how many jobs of a lane are read at once.
const ahead = 32

// fill reads ahead when nothing is left of what was read. d has not stored what
// it handed out, so it goes on behind the last.
func (d *dispatch) fill(ctx context.Context, l *lane, last readyJob) error {
	if !l.read {
		l.read = true
		d.lanes = append(d.lanes, l)
	}
	if l.end || len(l.ready) > 0 {
		return nil
	}
	n := 0
	err := rows(ctx, d, func(r *sql.Rows) error {
		var j readyJob
		err := r.Scan(&j.id, &j.runAt)
		n++
		switch {
		case j.runAt <= d.now:
			l.ready = append(l.ready, j)
		case l.wakes == 0:
			l.wakes = j.runAt
		}
		return err
	}, `select id, run_at from jobs
		where tenant_id = ? and plugin = ? and scan_type = ? and priority = ? and (run_at, id) > (?, ?)
		  and state = 'queued' and dispatched_at is null
		order by run_at, id limit ?`, string(l.tenant), l.plugin, l.scanType, l.priority, last.runAt, string(last.id), ahead)
	l.end = n < ahead || l.wakes > 0
	return err
}

// settleLane forgets a lane that is empty, and lets one rest whose jobs all wait.
func (d *dispatch) settleLane(ctx context.Context, l *lane) (err error) {
	switch key := []any{string(l.tenant), l.plugin, l.scanType, l.priority}; {
	case !l.end || len(l.ready) > 0:
	case l.wakes > 0:
		_, err = d.ExecContext(ctx, `update lanes set wake_at = ?5 where tenant_id = ?1 and plugin = ?2 and scan_type = ?3 and priority = ?4`,
			append(key, l.wakes)...)
	default:
		_, err = d.ExecContext(ctx, `delete from lanes where tenant_id = ? and plugin = ? and scan_type = ? and priority = ?`, key...)
	}
	return err
}

// turn is a tenant with lanes, and its next turn.
type turn struct {
	tenant host.TenantID
	weight float64
	begins float64
	began  float64 // the turn before, if jobs were handed out
	jobs   int
	since  int64 // its oldest lane
	served int64 // -1: not since it came
	free   int   // how many more it may have out
	lanes  []*lane
}

// settleTurn stores what a tenant had.
func (d *dispatch) settleTurn(ctx context.Context, t *turn) error {
	_, err := d.ExecContext(ctx, `insert into turns (tenant_id, began, ends, served_at) values (?, ?, ?, ?)
		on conflict do update set began = excluded.began, ends = excluded.ends, served_at = excluded.served_at`,
		string(t.tenant), t.began, t.begins, d.now)
	return err
}

// turns is a heap, the next turn first.
type turns []*turn

func (t turns) Len() int      { return len(t) }
func (t turns) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t turns) Less(i, j int) bool {
	a, b := t[i], t[j]
	return cmp.Or(cmp.Compare(a.begins, b.begins), cmp.Compare(a.served, b.served), cmp.Compare(b.since, a.since),
		cmp.Compare(a.tenant, b.tenant)) < 0
}
func (t *turns) Push(x any) { *t = append(*t, x.(*turn)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// deal hands out jobs turn by turn until the window is full.
func (d *dispatch) deal(ctx context.Context) error {
	heap.Init(&d.turns)
	for d.turns.Len() > 0 {
		t := d.turns[0]
		l, err := d.best(ctx, t)
		if err != nil {
			return err
		}
		if l == nil {
			heap.Pop(&d.turns) // it has nothing that may go
			continue
		}
		if d.room == 0 {
			d.out.More = true
			return nil
		}
		job := l.ready[0]
		l.ready = l.ready[1:]
		if err := d.fill(ctx, l, job); err != nil {
			return err
		}
		d.room--
		d.plugin[l.plugin]++
		d.scanType[l.scanType]++
		d.out.Bells = append(d.out.Bells, host.Doorbell{Job: job.id, Plugin: l.plugin})
		if t.jobs++; t.jobs == 1 {
			d.served = append(d.served, t)
		}
		t.began, t.begins = t.begins, t.begins+1/t.weight
		if t.free--; t.free == 0 {
			d.out.Capped = true
			heap.Pop(&d.turns)
		} else {
			heap.Fix(&d.turns, 0)
		}
	}
	return nil
}

// best is the lane with the tenant's most urgent job that no cap blocks, or nil.
func (d *dispatch) best(ctx context.Context, t *turn) (best *lane, err error) {
	for _, l := range t.lanes {
		if !d.open(l) {
			d.out.Capped = true
			continue
		}
		if err := d.fill(ctx, l, readyJob{}); err != nil {
			return nil, err
		}
		if len(l.ready) == 0 {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(l.priority, best.priority), cmp.Compare(l.ready[0].runAt, best.ready[0].runAt),
			cmp.Compare(l.ready[0].id, best.ready[0].id)) < 0 {
			best = l
		}
	}
	return best, nil
}

// MendLanes implements host.JobStore. With one writer no lane can be missing:
// a job and its lane are stored together, and Dispatch sees them both. It only
// forgets the turns of tenants that wait for nothing.
func (s *Store) MendLanes(ctx context.Context, _ int) (int, error) {
	err := s.write(ctx, "mend lanes", func(ctx context.Context, tx tx) error {
		_, err := tx.ExecContext(ctx, `delete from turns where ends <= (select max(began) from turns)
			and tenant_id not in (select tenant_id from lanes)`)
		return err
	})
	return 0, err
}
