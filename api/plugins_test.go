package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// plugins are those of a host.
type plugins struct {
	status []host.PluginStatus
	again  host.Reloaded
	err    error
}

func (p *plugins) Status() []host.PluginStatus { return p.status }

func (p *plugins) Reload(_ context.Context, plugin string) (host.Reloaded, error) {
	if plugin != "" && p.err == nil {
		if plugin != "secrets" {
			return host.Reloaded{}, host.ErrNotFound
		}
		return host.Reloaded{Plugins: []string{plugin}}, nil
	}
	return p.again, p.err
}

func TestPlugins(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	if got, err := e.client(t, "alice").Plugins(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("of none: %+v, %v", got, err)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	e.plugins.status = []host.PluginStatus{
		{Name: "broken", State: "quarantined", Reason: "/opt/broken: no such file", Isolation: "shared", Since: at, Retry: at.Add(time.Hour), Failed: 3},
		{Name: "secrets", State: "ready", Version: "1.2.3", Description: "Finds secrets.", Inputs: []host.InputKind{host.InputArchive}, Rules: 222,
			Isolation: "per_scan", Containment: "pid_namespace", SHA256: strings.Repeat("0a", 32), Standby: 1, Running: 2, Starts: 9, Restarts: 1, Since: at, DataUpdated: at},
	}
	// A tenant hears nothing of the machine.
	want := []client.Plugin{
		{Name: "broken", State: "quarantined"},
		{Name: "secrets", State: "ready", Version: "1.2.3", Description: "Finds secrets.", Inputs: []string{"archive"}, Rules: 222},
	}
	got, err := e.client(t, "alice").Plugins(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	later := at.Add(time.Hour)
	details, err := ann.PluginDetails(t.Context())
	wantDetails := []client.PluginDetail{
		{Plugin: want[0], Reason: "/opt/broken: no such file", Isolation: "shared", Since: at, Retry: &later, Failed: 3},
		{Plugin: want[1], Isolation: "per_scan", Containment: "pid_namespace", SHA256: strings.Repeat("0a", 32),
			Standby: 1, Running: 2, Starts: 9, Restarts: 1, Since: at, DataUpdated: &at},
	}
	if diff := cmp.Diff(wantDetails, details); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReloadPlugins(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	if got, err := ann.ReloadPlugins(t.Context()); err != nil || got.Reloaded == nil || got.Restart == nil {
		t.Errorf("of none: %+v, %v; want empty lists", got, err)
	}
	e.plugins.again = host.Reloaded{Plugins: []string{"secrets"}, Restart: []string{"new"}}
	got, err := ann.ReloadPlugins(t.Context())
	if diff := cmp.Diff(client.Reload{Reloaded: []string{"secrets"}, Restart: []string{"new"}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	one, err := ann.ReloadPlugin(t.Context(), "secrets")
	if diff := cmp.Diff(client.Reload{Reloaded: []string{"secrets"}, Restart: []string{}}, one); diff != "" || err != nil {
		t.Errorf("one: %v (-want +got):\n%s", err, diff)
	}
	var missing *client.Error
	if _, err := ann.ReloadPlugin(t.Context(), "a&b=c/../"); !errors.As(err, &missing) || missing.Status != http.StatusNotFound || !strings.Contains(missing.Detail, "no such plugin") {
		t.Errorf("one that is not there: %v", err)
	}
	var targets []string
	lines, err := ann.Audit(t.Context(), client.AuditQuery{Action: "reload-plugins"})
	for _, l := range lines.Items {
		targets = append(targets, l.Target+" "+l.Outcome)
	}
	if diff := cmp.Diff([]string{"plugin a&b=c/../ not_found", "plugin secrets done", " done", " done"}, targets); diff != "" || err != nil {
		t.Errorf("the audit log, newest first: %v (-want +got):\n%s", err, diff)
	}
	for want, err := range map[int]error{
		http.StatusUnprocessableEntity: fmt.Errorf("securetag.hcl:3: Invalid value: %w", host.ErrInvalid),
		http.StatusNotImplemented:      host.ErrNoPlugin,
		http.StatusInternalServerError: errors.New("disk on fire"),
	} {
		e.plugins.err = err
		_, got := ann.ReloadPlugins(t.Context())
		var refused *client.Error
		if !errors.As(got, &refused) || refused.Status != want {
			t.Errorf("%v: got %v, want status %d", err, got, want)
			continue
		}
		if want == http.StatusUnprocessableEntity && !strings.Contains(refused.Detail, "nothing was changed: securetag.hcl:3") {
			t.Errorf("detail %q", refused.Detail)
		}
	}
}
