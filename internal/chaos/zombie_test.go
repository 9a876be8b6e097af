package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/chaos/plan"
	"github.com/securetaghq/securetag/internal/chaos/proxy"
)

// TestZombie: a host that was away for longer than its lease comes back with a
// result, and the result is its successor's all the same.
func TestZombie(t *testing.T) {
	t.Parallel()
	for _, away := range []absence{stopped, late} {
		for name, done := range map[string]bool{"its successor has finished": true, "its successor is at it": false} {
			t.Run(string(away)+", "+name, func(t *testing.T) {
				t.Parallel()
				for _, broken := range zombie(t, bin.securetag, away, done) {
					t.Error(broken)
				}
			})
		}
	}
}

// absence is how a host is away.
type absence string

const (
	// stopped freezes the process. When it goes on, it suspects the lease itself.
	stopped absence = "stopped"
	// late keeps back what it sends to the database, its result first. It cannot
	// take that back: only the fence in the store keeps it out.
	late absence = "late"
)

// gates is where the plugin, confined as it is, sees files come up.
func (c *cluster) gates() string { return filepath.Join(c.dir, "gates") }

// gated uploads a job that waits for open(its gate, attempt).
func (c *cluster) gated(i int) (scan client.Scan, gate string) {
	c.t.Helper()
	gate = filepath.Join(c.gates(), fmt.Sprintf("gate-%d", i))
	options, err := json.Marshal(map[string]plan.Options{"flaky": {Seed: 30 + int64(i)*40, Gate: gate}}) // 15 findings
	if err != nil {
		c.t.Fatal(err)
	}
	scan, err = c.api(0, 0).Upload(c.t.Context(), bytes.NewReader(sample(c.t)), client.UploadOptions{Filename: "project.tar.gz", Type: "one", Options: options})
	if err != nil {
		c.t.Fatalf("upload: %v", err)
	}
	return scan, gate
}

func (c *cluster) open(gate string, attempt int) {
	c.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("%s-%d", gate, attempt), nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// holder waits for a scan's only job to run, in its plugin, in some attempt,
// and says on which run of a host.
func (c *cluster) holder(scan string, attempt int) (name string) {
	c.t.Helper()
	if !poll(c.t, time.Minute, func() bool {
		err := c.db.QueryRow(c.t.Context(), `
			select h.app from jobs j join chaos_history h on h.job = j.id and h.new_lease = j.lease_id::text
			where j.scan_id = $1 and j.state = 'running' and j.attempt = $2 and j.progress like '%waiting%'`, scan, attempt).Scan(&name)
		return err == nil
	}) {
		c.t.Fatalf("attempt %d of scan %s did not start:\n%s", attempt, scan, c.stuck())
	}
	return name
}

// zombie makes one and says what is wrong about its end.
func zombie(t *testing.T, binary string, how absence, done bool) (broken []string) {
	t.Helper()
	var wires []*proxy.Proxy // one for each host
	// One slot: the host that is away cannot take the job a second time.
	c := start(t, settings{binary: binary, hosts: 2, slots: 1, tenants: 1, postgres: func(_ int, raw string) string {
		p, err := proxy.Postgres(hostOf(t, raw))
		wires = append(wires, serve(t, p, err))
		return strings.Replace(raw, hostOf(t, raw), p.Addr(), 1)
	}})
	scan, gate := c.gated(0)
	asleep, awake := c.hosts[0], c.hosts[1]
	if c.holder(scan.ID, 1) == awake.name {
		asleep, awake = awake, asleep
	}
	wire := wires[asleep.index]
	switch how {
	case stopped:
		c.pause(asleep)
		c.open(gate, 1) // the plugin ends meanwhile, and its result waits for the host
	case late:
		wire.Hold(finishSQL)
		c.open(gate, 1)
		if !poll(t, time.Minute, func() bool { return wire.Held(finishSQL) > 0 }) {
			t.Fatal("the host did not send its result")
		}
		wire.Hold(heartbeatSQL)
	}
	if second := c.holder(scan.ID, 2); second != awake.name {
		t.Fatalf("attempt 2 runs on %s, want %s", second, awake.name)
	}
	if done {
		c.open(gate, 2)
		c.settle(time.Minute)
	}
	c.resume(asleep)
	wire.Release()
	// It is through with the job when it says so; a mutant says that it ended.
	if !poll(t, time.Minute, func() bool {
		return asleep.Logged("job dropped")+asleep.Logged(`"job ended"`)+asleep.Logged("result was not stored") > 0
	}) {
		broken = append(broken, asleep.name+" never said what became of its job:\n"+asleep.Log(30))
	}
	c.open(gate, 2)
	c.settle(time.Minute)

	all := c.history()
	found, _ := c.judge(all)
	broken = append(broken, found...)
	if end := all[len(all)-1]; end.New.State != host.StateSucceeded || end.App != awake.name || end.New.Attempt != 2 {
		broken = append(broken, fmt.Sprintf("the result is not that of %s in attempt 2:\n%s", awake.name, lines(all)))
	}
	for _, j := range c.jobs() {
		if j.State != host.StateSucceeded || j.Stored != 15 || j.FromAttempt != 15 || j.Process != 1 {
			broken = append(broken, fmt.Sprintf("%+v, want the 15 findings of attempt 2", j))
		}
	}
	c.shutDown()
	return broken
}

// TestForgotten: what Redis forgot is rung again from the rows.
func TestForgotten(t *testing.T) {
	t.Parallel()
	c := start(t, settings{hosts: 1, slots: 1, tenants: 1})
	if left := forgotten(c, 90*time.Second); left != "" {
		t.Error(left)
	}
	c.shutDown()
}

// forgotten wipes Redis while jobs wait for the only slot, and says which of
// them were never run.
func forgotten(c *cluster, patience time.Duration) (left string) {
	t := c.t
	t.Helper()
	scan, gate := c.gated(0)
	c.holder(scan.ID, 1)
	c.open(filepath.Join(c.gates(), "gate-1"), 1)
	c.open(filepath.Join(c.gates(), "gate-2"), 1)
	c.gated(1)
	c.gated(2)
	if !poll(t, time.Minute, func() bool {
		return c.count(`select count(*) from jobs where state = 'queued' and dispatched_at is not null`) == 2
	}) {
		t.Fatalf("the waiting jobs were not rung:\n%s", c.stuck())
	}
	r := redis.NewClient(&redis.Options{Addr: c.redis.Addr()})
	defer r.Close()
	if err := r.FlushAll(t.Context()).Err(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	c.open(gate, 1)
	if poll(t, patience, func() bool { return c.count(`select count(*) from scans where finished_at is null`) == 0 }) {
		return ""
	}
	return c.stuck()
}
