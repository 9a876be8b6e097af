package dispatch_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

func TestHowAnAttemptEnds(t *testing.T) {
	t.Parallel()
	fault := func(f host.Fault) runFunc {
		return func(context.Context, host.Task, host.Sink) (host.Report, error) { return host.Report{}, &f }
	}
	report := func(r host.Report) runFunc {
		return func(context.Context, host.Task, host.Sink) (host.Report, error) { return r, nil }
	}
	crash := host.Fault{Code: host.CodePluginCrashed, Message: "died", Retryable: true, Crashed: true}
	tests := []struct {
		name    string
		run     runFunc
		attempt int
		crashes int
		state   host.State
		code    host.ErrorCode
		dead    bool
	}{
		{"succeeded", succeed, 1, 0, host.StateSucceeded, "", false},
		{"partial", report(host.Report{State: host.StatePartial, Reason: "a file"}), 1, 0, host.StatePartial, host.CodePartial, false},
		{"failed for good", report(host.Report{State: host.StateFailed, Reason: "no"}), 1, 0, host.StateFailed, host.CodePluginFailed, false},
		{"failed for now", report(host.Report{State: host.StateFailed, Reason: "no", Retryable: true}), 1, 0, host.StateQueued, host.CodePluginFailed, false},
		{"canceled though nobody asked", report(host.Report{State: host.StateCanceled, Reason: "bored", Retryable: true}), 1, 0, host.StateFailed, host.CodePluginFailed, false},
		{"crashed", fault(crash), 1, 0, host.StateQueued, host.CodePluginCrashed, false},
		{"crashed on its last attempt", fault(crash), 3, 0, host.StateFailed, host.CodePluginCrashed, true},
		{"third crash is poison", fault(crash), 1, 2, host.StateFailed, host.CodePluginCrashed, true},
		{"refused", fault(host.Fault{Code: host.CodePluginRefused, Message: "bad option"}), 1, 0, host.StateFailed, host.CodePluginRefused, false},
		{"hung", fault(host.Fault{Code: host.CodePluginHung, Message: "silent", Retryable: true}), 1, 2, host.StateQueued, host.CodePluginHung, false},
		{"refused on its last attempt", fault(host.Fault{Code: host.CodePluginRefused, Message: "bad option"}), 3, 0, host.StateFailed, host.CodePluginRefused, false},
		{"no archive", fault(host.Fault{Code: host.CodeInputUnusable, Message: "not there", Retryable: true}), 3, 0, host.StateFailed, host.CodeInputUnusable, true},
		{"a bad archive", fault(host.Fault{Code: host.CodeInputUnusable, Message: "cut off"}), 3, 0, host.StateFailed, host.CodeInputUnusable, false},
		{"broke the contract", fault(host.Fault{Code: host.CodePluginProtocol, Message: "malformed"}), 1, 0, host.StateFailed, host.CodePluginProtocol, true},
		{"failed on its last attempt", report(host.Report{State: host.StateFailed, Reason: "no", Retryable: true}), 3, 0, host.StateFailed, host.CodePluginFailed, true},
		{"no fault named", func(context.Context, host.Task, host.Sink) (host.Report, error) {
			return host.Report{}, errors.New("secret path /var/x")
		}, 1, 0, host.StateQueued, host.CodeInternal, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := claim()
				c.Job.Attempt, c.Job.Crashes, c.Job.MaxAttempts = tt.attempt, tt.crashes, 3
				w := start(t, newFakeStore(c), tt.run, nil)
				defer w.end()
				o := outcomeOf(t, w.store)
				var code host.ErrorCode
				if o.Error != nil {
					code = o.Error.Code
					if strings.Contains(o.Error.Message, "/var/x") {
						t.Errorf("the message for the tenant shows an internal error: %q", o.Error.Message)
					}
				}
				if o.State != tt.state || code != tt.code || o.Dead != tt.dead {
					t.Errorf("outcome = %s %q, dead %v; want %s %q, %v", o.State, code, o.Dead, tt.state, tt.code, tt.dead)
				}
				if retry := o.State == host.StateQueued; retry != (o.RetryAfter > 0) {
					t.Errorf("state %s with a pause of %v", o.State, o.RetryAfter)
				}
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := dispatch.Backoff{Min: time.Second, Max: time.Minute}
	for attempt, full := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 7: time.Minute, 40: time.Minute, 1 << 30: time.Minute,
	} {
		for range 100 {
			if d := b.After(attempt); d < full/2 || d > full {
				t.Errorf("After(%d) = %v, want between %v and %v", attempt, d, full/2, full)
			}
		}
	}
	if d := (dispatch.Backoff{}).After(3); d != 0 {
		t.Errorf("the zero Backoff waits %v", d)
	}
}
