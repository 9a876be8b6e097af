package executor

import (
	"context"
	"errors"
	"io"
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
	healthSilence  = 3 * healthInterval     // without an update: something is wrong
	healthPace     = 100 * time.Millisecond // between updates that are read: what comes faster waits
	firstReopen    = time.Second            // after a stream that broke; doubles
	lastReopen     = 2 * time.Minute
)

// health is what a process says of itself, or that it says nothing.
type health struct {
	degraded bool
	text     string
	data     time.Time // of its rules or databases; zero: not dated
	at       time.Time // when it last said something
}

// watch listens to how a waiting or shared process says it is, until it ends.
// It is shown and decides nothing: what a plugin cannot do it refuses. One that
// does not implement Health is as healthy as its scans; one that does and falls
// silent, or breaks its stream and lives on, is degraded.
func (k *keeper) watch(ctx context.Context, p *process) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() { // ends with the process, which stopAll or a run ends
		<-p.runner.done
		cancel()
		k.nudge()
	}()
	for delay := firstReopen; ; delay = min(2*delay, lastReopen) {
		err := k.listen(ctx, p)
		if status.Code(err) == codes.Unimplemented || !rest(ctx, delay) {
			return
		}
		// The process lives, so it did not end the stream by ending.
		why := "its Health ended"
		if !errors.Is(err, io.EOF) {
			why += ": " + clean.Line(status.Convert(err).Message(), 200)
		}
		k.unheard(p, why)
	}
}

// listen reads one stream to its end and gives the reason of that.
func (k *keeper) listen(ctx context.Context, p *process) error {
	stream, err := p.scanner.Health(ctx, &pluginv1.HealthRequest{Interval: durationpb.New(healthInterval)})
	if err != nil {
		return err
	}
	silence := time.AfterFunc(healthSilence, func() { k.silent(p) })
	defer silence.Stop()
	for {
		u, err := stream.Recv()
		if err != nil {
			return err
		}
		silence.Reset(healthSilence)
		k.heard(p, u)
		if !rest(ctx, healthPace) {
			return context.Cause(ctx)
		}
	}
}

// heard notes an update.
func (k *keeper) heard(p *process, u *pluginv1.HealthUpdate) {
	h := health{text: clean.Line(u.GetDescription(), 300), at: time.Now()}
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
	defer k.mu.Unlock()
	k.noteHealth(p, h)
}

// silent notes that nothing was heard for healthSilence, unless something just was.
func (k *keeper) silent(p *process) {
	if k.plugin.Attach != nil {
		return // it may stand still in a debugger
	}
	k.mu.Lock()
	quiet := time.Since(p.health.at) >= healthSilence
	k.mu.Unlock()
	if quiet {
		k.unheard(p, "it has not said how it is for "+healthSilence.String())
	}
}

// unheard notes why a process that lives does not say how it is. What it said of
// its data stands.
func (k *keeper) unheard(p *process, why string) {
	if p.ending.Load() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := p.health
	h.degraded, h.text = true, why
	k.noteHealth(p, h)
}

// noteHealth notes how a process is, and logs it when that is another; k.mu is held.
func (k *keeper) noteHealth(p *process, h health) {
	before := p.health
	p.health = h
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
