package executor

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	healthInterval = 10 * time.Second       // in which a plugin is asked to say how it is
	healthPace     = 100 * time.Millisecond // between updates that are read: what comes faster waits
	firstReopen    = time.Second            // after a stream that broke; doubles
	lastReopen     = 2 * time.Minute
)

// health is what a process says of itself.
type health struct {
	degraded bool
	text     string
	data     time.Time // of its rules or databases; zero: not dated
}

// watch listens to how a waiting or shared process says it is, until it ends.
// It is shown and decides nothing: what a plugin cannot do it refuses. One that
// does not implement Health is as healthy as its scans.
func (k *keeper) watch(ctx context.Context, p *process) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() { // ends with the process, which stopAll or a run ends
		<-p.runner.done
		cancel()
		k.nudge()
	}()
	for delay := firstReopen; ; delay = min(2*delay, lastReopen) {
		if !k.listen(ctx, p) || !rest(ctx, delay) {
			return
		}
	}
}

// listen reads one stream to its end. It reports whether to open another.
func (k *keeper) listen(ctx context.Context, p *process) bool {
	stream, err := p.scanner.Health(ctx, &pluginv1.HealthRequest{Interval: durationpb.New(healthInterval)})
	for err == nil {
		var u *pluginv1.HealthUpdate
		if u, err = stream.Recv(); err == nil {
			k.heard(p, u)
			if !rest(ctx, healthPace) {
				return false
			}
		}
	}
	return ctx.Err() == nil && status.Code(err) != codes.Unimplemented
}

// heard notes an update, and logs it when it is another.
func (k *keeper) heard(p *process, u *pluginv1.HealthUpdate) {
	h := health{text: clean.Line(u.GetDescription(), 300)}
	switch u.GetState() {
	case pluginv1.HealthUpdate_STATE_DEGRADED, pluginv1.HealthUpdate_STATE_UNHEALTHY:
		h.degraded = true
		if h.text == "" {
			h.text = "it does not say why"
		}
	}
	if at := u.GetDataUpdatedAt(); at.CheckValid() == nil {
		h.data = at.AsTime()
	}
	k.mu.Lock()
	before := p.health
	p.health = h
	k.mu.Unlock()
	switch {
	case h.degraded && h.text != before.text:
		k.log.Warn("plugin is degraded", "reason", h.text)
	case before.degraded && !h.degraded:
		k.log.Info("plugin is healthy again")
	}
}

// worst is the health of the process that is worst of those that wait, or that
// are shared; k.mu is held.
func (k *keeper) worst() health {
	var out health
	all := append(k.idle[:len(k.idle):len(k.idle)], k.shared)
	for _, p := range slices.AppendSeq(all, maps.Values(k.tenants)) {
		if p != nil && (p.health.degraded || !out.degraded) {
			out = p.health
		}
	}
	return out
}

// rest waits for d; false: ctx ended before.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
