package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// TestSecrets: a job of a scan with secrets starts with them, or does not start.
func TestSecrets(t *testing.T) {
	t.Parallel()
	given := map[string]json.RawMessage{"headers": json.RawMessage(`{"a":"canary"}`)}
	opens := func(host.Scan) (map[string]json.RawMessage, error) { return given, nil }
	for name, tt := range map[string]struct {
		names []string
		box   string
		open  func(host.Scan) (map[string]json.RawMessage, error)
		want  map[string]json.RawMessage
		state host.State
		code  host.ErrorCode
	}{
		"none":       {nil, "", nil, nil, host.StateSucceeded, ""},
		"some":       {[]string{"headers"}, "box", opens, given, host.StateSucceeded, ""},
		"gone":       {[]string{"headers"}, "", opens, nil, host.StateFailed, host.CodeSecretsGone},
		"no key":     {[]string{"headers"}, "box", func(host.Scan) (map[string]json.RawMessage, error) { return nil, errors.New("no key") }, nil, host.StateQueued, host.CodeInternal},
		"nobody can": {[]string{"headers"}, "box", nil, nil, host.StateQueued, host.CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := claim()
				c.Scan.SecretOptions, c.Scan.Secrets = tt.names, []byte(tt.box)
				ran := false
				w := start(t, newFakeStore(c), func(_ context.Context, task host.Task, _ host.Sink) (host.Report, error) {
					ran = true
					if diff := cmp.Diff(tt.want, task.Secret); diff != "" {
						t.Error(diff)
					}
					return host.Report{State: host.StateSucceeded}, nil
				}, func(cfg *dispatch.Config) { cfg.Secrets = tt.open })
				defer w.end()
				o := outcomeOf(t, w.store)
				if o.State != tt.state || ran != (tt.state == host.StateSucceeded) || o.Dead || strings.Contains(fmt.Sprintf("%+v", o), "canary") {
					t.Errorf("%+v, ran %t", o, ran)
				}
				if tt.code != "" && (o.Error == nil || o.Error.Code != tt.code || !strings.HasPrefix(o.Error.Message, "not started: ")) {
					t.Errorf("error %+v", o.Error)
				}
			})
		})
	}
}
