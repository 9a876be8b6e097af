package conformance

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func healthChecks() []check {
	return []check{
		must("health.first", configured, "Health says how it does at once, and goes on",
			"Send a HealthUpdate with a known state as soon as the stream is open, then one at every change and once an interval.",
			contract("Health"), (*kit).tellsHealth),
	}
}

const (
	healthAtOnce   = 2 * time.Second
	healthInterval = 100 * time.Millisecond // as often as one may ask
	healthPatience = 5 * time.Second        // for the second update: it may keep to a least interval
)

func (k *kit) tellsHealth(ctx context.Context) outcome {
	p, err := k.scanner(ctx)
	if err != nil {
		return k.trouble(err)
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(min(healthAtOnce, k.opts.Grace), cancel)
	defer late.Stop()
	stream, err := p.api.Health(call, &pluginv1.HealthRequest{Interval: durationpb.New(healthInterval)})
	if err != nil {
		return failed("%v", p.explain("Health", err))
	}
	for n := range 2 {
		u, err := stream.Recv()
		late.Reset(min(healthPatience, k.opts.Grace))
		switch {
		case err != nil && call.Err() != nil && n == 0:
			return failed("no update within %s", min(healthAtOnce, k.opts.Grace))
		case err != nil && call.Err() != nil:
			return failed("one update and no second within %s, and the interval is %s", min(healthPatience, k.opts.Grace), healthInterval)
		case err != nil:
			return failed("%v", p.explain("Health", err))
		case u.GetState() == pluginv1.HealthUpdate_STATE_UNSPECIFIED || pluginv1.HealthUpdate_State_name[int32(u.GetState())] == "":
			return failed("the unknown state %d", u.GetState())
		case u.GetActiveScans() != 0:
			return failed("%d active scans, and there is none", u.GetActiveScans())
		}
	}
	return pass()
}
