package chaos_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/internal/chaos/proxy"
)

const expireSQL = "update jobs j set state = n.state, crashes = j.crashes + 1"

// TestFrozenSweeper: a host that freezes in the middle of taking a dead host's
// job back does not keep the job from the others for ever.
func TestFrozenSweeper(t *testing.T) {
	t.Parallel()
	var wires []*proxy.Proxy
	c := start(t, settings{hosts: 3, slots: 1, tenants: 1, postgres: func(_ int, raw string) string {
		p, err := proxy.Postgres(hostOf(t, raw))
		wires = append(wires, serve(t, p, err))
		return strings.Replace(raw, hostOf(t, raw), p.Addr(), 1)
	}})
	scan, gate := c.gated(0)
	name := c.holder(scan.ID, 1)
	var rest []*node
	for _, h := range c.hosts {
		if h.name == name {
			c.killHost(h)
		} else {
			rest = append(rest, h)
		}
	}
	frozen, well := rest[0], rest[1]
	c.open(gate, 2)
	c.pause(well) // so that the other one finds the job
	wires[frozen.index].Hold(expireSQL)
	if !poll(t, time.Minute, func() bool { return wires[frozen.index].Held(expireSQL) > 0 }) {
		t.Fatalf("nobody took the job back:\n%s", c.stuck())
	}
	c.pause(frozen)
	c.resume(well)
	c.settle(time.Minute)
	wires[frozen.index].Release()
	c.resume(frozen)
	broken, _ := c.judge(c.history())
	for _, b := range broken {
		t.Error(b)
	}
}
