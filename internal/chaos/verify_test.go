package chaos_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/chaos/plan"
)

// job is what the database says of one at the end.
type job struct {
	ID, Scan, Tenant, Plugin  string
	State, ScanState          host.State
	Attempt, Attempts         int
	Crashes                   int
	Epoch, Result             int64
	Error                     host.JobError
	Options                   map[string]plan.Options // of the scan, by plugin
	Counts                    [6]int
	Stored, Distinct, Process int // findings of the result; their different messages; processes they came from
	FromAttempt, Strange      int // of the attempt that delivered; that nobody planned
	Stale                     int // findings that belong to no result
	Ranks                     [6]int
}

const jobsSQL = `
select j.id::text, j.scan_id::text, j.tenant_id::text, j.plugin, j.state, s.state, j.attempt, j.max_attempts, j.crashes,
       j.lease_epoch, coalesce(j.result_epoch, 0), coalesce(j.error, '{}'), coalesce(s.options, '{}'),
       array[j.critical, j.high, j.medium, j.low, j.info, j.unknown],
       f.stored, f.messages, f.processes, f.fresh, f.strange, f.stale, f.ranks
from jobs j join scans s on s.id = j.scan_id
cross join lateral (
    select count(*) filter (where hit) as stored,
           count(distinct message) filter (where hit) as messages,
           count(distinct detail::json->'properties'->>'process') filter (where hit) as processes,
           count(*) filter (where hit and (detail::json->'properties'->>'attempt')::int = j.attempt) as fresh,
           count(*) filter (where hit and not (
               message ~ ('^seed ' || (s.options::json->j.plugin->>'seed') || ' finding [0-9]+$')
               and severity = substring(message from '[0-9]+$')::int % 5)) as strange,
           count(*) filter (where not hit) as stale,
           array[count(*) filter (where hit and severity = 0), count(*) filter (where hit and severity = 1),
                 count(*) filter (where hit and severity = 2), count(*) filter (where hit and severity = 3),
                 count(*) filter (where hit and severity = 4), count(*) filter (where hit and severity = 5)] as ranks
    from (select *, coalesce(lease_epoch = j.result_epoch, false) as hit from findings where scan_id = j.scan_id and job_id = j.id) f
) f order by j.scan_id, j.ordinal`

func (c *cluster) jobs() []job {
	c.t.Helper()
	rows, err := c.db.Query(c.t.Context(), jobsSQL)
	if err != nil {
		c.t.Fatalf("read the jobs: %v", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (j job, err error) {
		var fault, options string
		var counts, ranks []int
		err = r.Scan(&j.ID, &j.Scan, &j.Tenant, &j.Plugin, &j.State, &j.ScanState, &j.Attempt, &j.Attempts, &j.Crashes,
			&j.Epoch, &j.Result, &fault, &options, &counts, &j.Stored, &j.Distinct, &j.Process, &j.FromAttempt, &j.Strange, &j.Stale, &ranks)
		if err == nil {
			err = json.Unmarshal([]byte(fault), &j.Error)
		}
		if err == nil {
			err = json.Unmarshal([]byte(options), &j.Options)
		}
		copy(j.Counts[:], counts)
		copy(j.Ranks[:], ranks)
		return j, err
	})
	if err != nil {
		c.t.Fatalf("read the jobs: %v", err)
	}
	return all
}

// settle waits until every scan is final.
func (c *cluster) settle(limit time.Duration) {
	c.t.Helper()
	open := -1
	if poll(c.t, limit, func() bool {
		err := c.db.QueryRow(c.t.Context(), `select count(*) from scans where finished_at is null`).Scan(&open)
		return err == nil && open == 0
	}) {
		return
	}
	c.t.Errorf("%d scans are not final %v after the storm:\n%s", open, limit, c.stuck())
}

// stuck tells where jobs hang.
func (c *cluster) stuck() string {
	rows, err := c.db.Query(c.t.Context(), `
		select format('%s of scan %s: %s, attempt %s, epoch %s, rung %s ago, runs at %s, lease until %s of %s',
		              id, scan_id, state, attempt, lease_epoch, now() - dispatched_at, run_at, lease_expires_at, lease_owner)
		from jobs where finished_at is null order by id limit 10`)
	if err != nil {
		return err.Error()
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(all, "\n")
}

// verify checks everything that must hold once all is quiet.
func (c *cluster) verify(l *load) (jobs []job, sum tally) {
	c.t.Helper()
	jobs = c.jobs()
	scans := map[string][]host.State{}
	for _, j := range jobs {
		scans[j.Scan] = append(scans[j.Scan], j.State)
		if bad := j.wrong(); len(bad) > 0 {
			c.t.Errorf("job %s of plugin %s, %s in attempt %d of %d, %d crashes, error %+v: %s", j.ID, j.Plugin, j.State, j.Attempt, j.Attempts, j.Crashes, j.Error, strings.Join(bad, "; "))
		}
	}
	for _, j := range jobs {
		if want := host.DeriveState(scans[j.Scan]); j.ScanState != want {
			c.t.Errorf("scan %s is %s, want %s of jobs %v", j.Scan, j.ScanState, want, scans[j.Scan])
		}
	}
	for id := range l.accepted {
		if scans[id] == nil {
			c.t.Errorf("scan %s was accepted and is not there", id)
		}
	}
	if n := c.count(`select count(*) from scans s where (critical, high, medium, low, info, unknown) is distinct from
		(select (sum(critical)::int, sum(high)::int, sum(medium)::int, sum(low)::int, sum(info)::int, sum(unknown)::int) from jobs where scan_id = s.id)`); n != 0 {
		c.t.Errorf("the counts of %d scans are not the sums of their jobs'", n)
	}
	broken, sum := c.judge(c.history())
	for _, b := range broken {
		c.t.Error(b)
	}
	return jobs, sum
}

func (c *cluster) count(sql string) int {
	c.t.Helper()
	var n int
	if err := c.db.QueryRow(c.t.Context(), sql).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// wrong compares a job with its plan.
func (j job) wrong() (bad []string) {
	no := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	o := j.Options[j.Plugin]
	if !j.State.Final() {
		no("it is not final")
	}
	if j.Stale != 0 {
		no("%d findings of attempts that delivered nothing are left", j.Stale)
	}
	if j.Counts != j.Ranks {
		no("it counts %v and has %v", j.Counts, j.Ranks)
	}
	switch j.State {
	case host.StateSucceeded, host.StatePartial:
		var want [6]int
		for i, n := range o.Ranks() {
			want[i] = n
		}
		if b := o.Behave(j.Attempt); b.Delivers() != j.State {
			no("it is %s after an attempt that was to %s", j.State, b)
		}
		if j.Ranks != want || j.Distinct != o.Findings() || j.Strange != 0 {
			no("findings by severity %v, want %v; %d different ones of %d, %d that were not planned", j.Ranks, want, j.Distinct, o.Findings(), j.Strange)
		}
		if j.FromAttempt != j.Stored || j.Process > 1 {
			no("%d of %d findings are of its last attempt, from %d processes", j.FromAttempt, j.Stored, j.Process)
		}
	case host.StateTimedOut:
		no("nothing was planned that ends so")
	case host.StateFailed:
		forGood := j.Error.Code == host.CodePluginProtocol && o.Behave(j.Attempt) == plan.Nonsense
		if j.Error.Code == "" || j.Error.Message == "" {
			no("it says nothing of why it failed")
		}
		if !forGood && j.Attempt < j.Attempts && j.Crashes < 3 {
			no("it failed though it could have been tried again")
		}
	}
	return bad
}

// overHTTP reads scans and their findings as a client does; at most n of them.
func (c *cluster) overHTTP(l *load, jobs []job, n int) {
	c.t.Helper()
	byScan := map[string][]job{}
	for _, j := range jobs {
		byScan[j.Scan] = append(byScan[j.Scan], j)
	}
	for _, id := range slices.Sorted(maps.Keys(l.accepted)) {
		if n--; n < 0 {
			return
		}
		api, want := c.api(n, l.accepted[id]), 0
		scan, err := api.Scan(c.t.Context(), id)
		if err != nil {
			c.t.Errorf("read scan %s: %v", id, err)
			continue
		}
		for i, j := range byScan[id] {
			want += j.Stored
			if got := scan.Jobs[i]; string(got.State) != string(j.State) || got.Attempt != j.Attempt {
				c.t.Errorf("scan %s: the API has job %+v, the database %+v", id, got, j)
			}
		}
		got := map[string]int{}
		for f, err := range api.AllFindings(c.t.Context(), id, client.FindingsQuery{Limit: 500}) {
			if err != nil {
				c.t.Errorf("findings of scan %s: %v", id, err)
				break
			}
			got[f.JobID+" "+f.Message]++
		}
		if len(got) != want {
			c.t.Errorf("scan %s: the API lists %d different findings, the database has %d", id, len(got), want)
		}
	}
}

// shutDown ends all hosts in order and looks for what they left behind.
func (c *cluster) shutDown() {
	c.t.Helper()
	for _, h := range c.hosts {
		if !h.down {
			c.endHost(h)
		}
	}
	for _, binary := range []string{bin.flaky, c.settings.binary} {
		if !poll(c.t, 20*time.Second, func() bool { return len(processes(binary, c.dir)) == 0 }) {
			c.t.Errorf("processes of %s are left: %v", filepath.Base(binary), processes(binary, c.dir))
		}
	}
	own := filepath.Join(c.memory, fmt.Sprintf("securetag-%d", os.Getuid()))
	for _, dir := range []string{filepath.Join(c.dir, "data", "work"), filepath.Join(c.dir, "data", "run"), own} {
		for _, path := range leftovers(dir) {
			c.t.Errorf("%s is left in %s", path, dir)
		}
	}
}

// leftovers lists what is below dir, but for the lock of all managers and the
// empty directory that a host's number has.
func leftovers(dir string) (left []string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		_, notNumber := strconv.Atoi(name)
		if err == nil && path != dir && name != "lock" && (notNumber != nil || !d.IsDir()) {
			left = append(left, name)
		}
		return err
	})
	if err != nil {
		left = append(left, err.Error())
	}
	return left
}
