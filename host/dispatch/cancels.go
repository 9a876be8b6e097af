package dispatch

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// canceler is the fast path of cancels: it passes those that were stored here
// on to the other hosts, and makes the heart ask the store about those that it
// hears of. The heart's own beats are the sure path, so nothing here is tried
// again.
type canceler struct {
	cancels host.Cancels // nil: heartbeats alone
	gate    *gate
	heart   *heart
	out     chan host.ScanID
	log     hclog.Logger
}

const (
	cancelQueue   = 1024
	cancelTimeout = time.Second
)

func newCanceler(cancels host.Cancels, g *gate, h *heart, log hclog.Logger) *canceler {
	return &canceler{cancels: cancels, gate: g, heart: h, out: make(chan host.ScanID, cancelQueue), log: log}
}

// pass says that a scan's cancel was stored. It never blocks.
func (c *canceler) pass(scan host.ScanID) {
	c.heart.ask(scan) // this host need not hear of it from afar
	if c.cancels == nil {
		return
	}
	select {
	case c.out <- scan:
	default:
	}
}

// publish passes cancels on until ctx ends.
func (c *canceler) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case scan := <-c.out:
			if c.gate.down() {
				continue
			}
			pctx, cancel := context.WithTimeout(ctx, cancelTimeout)
			err := c.cancels.Publish(pctx, scan)
			cancel()
			if err != nil && ctx.Err() == nil {
				c.log.Debug("other hosts hear of a cancel with their next heartbeat", "scan", scan, "error", err)
			}
		}
	}
}

// listen hears of cancels until ctx ends.
func (c *canceler) listen(ctx context.Context) {
	for pause := time.Duration(0); c.gate.pass(ctx); {
		began := time.Now()
		err := c.cancels.Subscribe(ctx, c.heart.ask)
		if ctx.Err() != nil {
			return
		}
		c.log.Debug("listens for cancels again", "error", err)
		// The gate waits for a Redis that is down; this is for one that answers
		// and ends every subscription.
		if pause = min(max(2*pause, gateMin), gateMax); time.Since(began) > gateMax {
			pause = gateMin
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}
