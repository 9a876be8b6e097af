package executor_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// teller is a plugin that says how it is when the test says so.
type teller struct {
	pluginv1.ScannerClient
	says chan any // a HealthUpdate, or the error that ends the stream
}

type telling struct {
	grpc.ClientStream
	ctx  context.Context //nolint:containedctx // as a stream has it
	says chan any
}

func (s teller) Health(ctx context.Context, _ *pluginv1.HealthRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[pluginv1.HealthUpdate], error) {
	return telling{ctx: ctx, says: s.says}, nil
}

func (s telling) Recv() (*pluginv1.HealthUpdate, error) {
	select {
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	case v := <-s.says:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(*pluginv1.HealthUpdate), nil
	}
}

// TestSilentHealth: a plugin that says how it is and then no more is degraded,
// until it says something again.
func TestSilentHealth(t *testing.T) {
	t.Parallel()
	well := &pluginv1.HealthUpdate{State: pluginv1.HealthUpdate_STATE_HEALTHY}
	const silent, ready, degraded = "it has not said how it is for 30s", executor.StateReady, executor.StateDegraded
	type step struct {
		says   any // nil: nothing
		after  time.Duration
		state  executor.PluginState
		reason string
	}
	for name, tc := range map[string]struct {
		plugin executor.Plugin
		steps  []step
	}{
		"never says anything": {steps: []step{{nil, 29 * time.Second, ready, ""}, {nil, time.Second, degraded, silent}, {nil, time.Hour, degraded, silent}}},
		"falls silent": {steps: []step{
			{well, 20 * time.Second, ready, ""}, {well, 29 * time.Second, ready, ""}, {nil, 2 * time.Second, degraded, silent}, {well, 0, ready, ""},
		}},
		"keeps to the interval": {steps: []step{{well, 10 * time.Second, ready, ""}, {well, 10 * time.Second, ready, ""}, {well, 10 * time.Second, ready, ""}, {well, 10 * time.Second, ready, ""}}},
		"breaks its stream": {steps: []step{
			{well, time.Second, ready, ""},
			{status.Error(codes.Internal, "no\x1b memory"), 2 * time.Second, degraded, "its Health ended: no memory"}, {well, 0, ready, ""},
			{io.EOF, 3 * time.Second, degraded, "its Health ended"}, {nil, time.Minute, degraded, silent},
		}},
		"does not implement it":       {steps: []step{{status.Error(codes.Unimplemented, "no"), time.Hour, ready, ""}}},
		"stands still in a debugger":  {plugin: executor.Plugin{Attach: &executor.Attach{}}, steps: []step{{well, time.Hour, ready, ""}}},
		"says that it is not well":    {steps: []step{{&pluginv1.HealthUpdate{State: pluginv1.HealthUpdate_STATE_UNHEALTHY}, time.Second, degraded, "it does not say why"}}},
		"ends, and its stream before": {steps: []step{{well, time.Second, ready, ""}, {io.EOF, 0, ready, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs syncBuffer
				says, ended := make(chan any), make(chan struct{})
				told := executor.WatchHealth(t.Context(), tc.plugin, teller{says: says}, ended, hclog.New(&hclog.LoggerOptions{Output: &logs}))
				changes, last := 0, ready
				for i, s := range tc.steps {
					if s.says != nil {
						says <- s.says
					}
					time.Sleep(s.after)
					synctest.Wait()
					got := told()
					if got.State != s.state || got.Reason != s.reason {
						t.Errorf("step %d: %s, %q; want %s, %q", i, got.State, got.Reason, s.state, s.reason)
					}
					if s.state == degraded && last != degraded {
						changes++
					}
					last = s.state
				}
				close(ended)
				synctest.Wait()
				if n := strings.Count(logs.String(), "plugin is degraded"); n < changes || n > changes+1 {
					t.Errorf("logged %d times for %d changes:\n%s", n, changes, logs.String())
				}
			})
		})
	}
}
