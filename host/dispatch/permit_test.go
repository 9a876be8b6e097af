package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/dispatch"
)

// TestPermit: whether a target may be scanned is asked again when the job starts,
// and the plugin is told which hosts it may call.
func TestPermit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hosts []string
		err   error
		state host.State
		code  host.ErrorCode
		text  string
	}{
		"permitted":    {[]string{"example.com"}, nil, host.StateSucceeded, "", ""},
		"withdrawn":    {nil, fmt.Errorf("prove it: %w", host.ErrNotPermitted), host.StateFailed, host.CodeTargetForbidden, "not started: prove it"},
		"no host":      {nil, nil, host.StateFailed, host.CodeTargetForbidden, "not started"},
		"nobody knows": {nil, errors.New("the store is down"), host.StateQueued, host.CodeInternal, "could not find out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := claim()
				c.Scan.Input.URL, c.Scan.TenantID = "https://example.com/", "tenant"
				ran := false
				w := start(t, newFakeStore(c), func(_ context.Context, task host.Task, _ host.Sink) (host.Report, error) {
					ran = true
					if diff := cmp.Diff(tt.hosts, task.PermittedHosts); diff != "" {
						t.Error(diff)
					}
					return host.Report{State: host.StateSucceeded}, nil
				}, func(cfg *dispatch.Config) {
					cfg.Permit = func(_ context.Context, tenant host.TenantID, url string) ([]string, error) {
						if tenant != "tenant" || url != "https://example.com/" {
							t.Errorf("asked for %s, %s", tenant, url)
						}
						return tt.hosts, tt.err
					}
				})
				defer w.end()
				o := outcomeOf(t, w.store)
				if o.State != tt.state || ran != (tt.state == host.StateSucceeded) || o.Dead {
					t.Errorf("%+v, ran %t", o, ran)
				}
				if tt.code != "" && (o.Error == nil || o.Error.Code != tt.code || !strings.Contains(o.Error.Message, tt.text)) {
					t.Errorf("error %+v", o.Error)
				}
			})
		})
	}
}
