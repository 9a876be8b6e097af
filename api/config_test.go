package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// configuration is a host's, as a test says.
type configuration struct {
	settings []host.ConfigSetting
	changes  []host.ConfigChange
	plugins  []string
	err      error
	state    host.ConfigState
	taken    int
}

func (c *configuration) Settings() []host.ConfigSetting { return c.settings }
func (c *configuration) State() host.ConfigState        { return c.state }

func (c *configuration) Preview(context.Context) ([]host.ConfigChange, error) {
	return c.changes, c.err
}

func (c *configuration) Reload(context.Context) (host.ConfigReload, error) {
	c.taken++
	return host.ConfigReload{Changes: c.changes, Plugins: c.plugins}, c.err
}

func TestConfig(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	if got, err := ann.Reload(t.Context()); err != nil || got.Changes == nil || got.Plugins == nil {
		t.Errorf("a reload of nothing: %+v, %v; want empty lists", got, err)
	}
	e.config.settings = []host.ConfigSetting{{Path: "limits.entries", Value: "7", Source: "securetag.hcl:2"}, {Path: "data_dir", Value: `"/srv"`, Source: "default", Restart: true}}
	settings, err := ann.Settings(t.Context())
	if diff := cmp.Diff([]client.Setting{{Path: "limits.entries", Value: "7", Source: "securetag.hcl:2"}, {Path: "data_dir", Value: `"/srv"`, Source: "default", Restart: true}}, settings); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	e.config.changes = []host.ConfigChange{
		{Action: "changed", Path: "limits.entries", Old: "7", New: "8", Source: "securetag.hcl:2"},
		{Action: "added", Path: "plugin.new", Source: "securetag.hcl:9", Restart: true},
	}
	e.config.plugins = []string{"secrets"}
	want := client.ConfigReload{Plugins: []string{}, Waiting: 1, Changes: []client.ConfigChange{
		{Action: "changed", Path: "limits.entries", Old: "7", New: "8", Source: "securetag.hcl:2"},
		{Action: "added", Path: "plugin.new", Source: "securetag.hcl:9", Restart: true},
	}}
	before := e.config.taken
	preview, err := ann.PreviewReload(t.Context())
	if diff := cmp.Diff(want, preview); diff != "" || err != nil || e.config.taken != before {
		t.Errorf("preview: %v, reloaded %d times (-want +got):\n%s", err, e.config.taken-before, diff)
	}
	want.Plugins = []string{"secrets"}
	reload, err := ann.Reload(t.Context())
	if diff := cmp.Diff(want, reload); diff != "" || err != nil {
		t.Errorf("reload: %v (-want +got):\n%s", err, diff)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	e.config.err = &host.WrongConfig{Mistakes: []host.ConfigMistake{{Place: "securetag.hcl:3", Text: "Invalid value: no"}, {Text: "Unknown environment variable: X"}}}
	for name, call := range map[string]func() error{
		"preview": func() error { _, err := ann.PreviewReload(t.Context()); return err },
		"reload":  func() error { _, err := ann.Reload(t.Context()); return err },
	} {
		var p *client.Error
		if err := call(); !errors.As(err, &p) || p.StatusCode != http.StatusUnprocessableEntity || len(p.Errors) != 2 ||
			p.Errors[0].Pointer != "securetag.hcl:3" || !strings.Contains(p.Detail, "nothing was changed: securetag.hcl:3: Invalid value: no (and 1 more)") {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// TestReadyzSaysHowTheConfigurationIs, to everybody, so without what is in it.
func TestReadyzSaysHowTheConfigurationIs(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	for _, tt := range []struct {
		state  host.ConfigState
		status string
		says   string
	}{
		{host.ConfigState{}, client.Ready, ""},
		{host.ConfigState{Waiting: 2}, client.Ready, "Changes that wait for a restart: 2."},
		{host.ConfigState{Failed: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Mistakes: 3, Waiting: 1}, client.Degraded,
			"The reload at 2026-05-01T12:00:00Z failed (mistakes in it: 3). What was in force before still is; the log says more. Changes that wait for a restart: 1."},
		{host.ConfigState{Failed: time.Unix(1, 0)}, client.Degraded, "The reload at 1970-01-01T00:00:01Z failed (it could not be taken). What was in force before still is; the log says more."},
	} {
		e.config.state = tt.state
		got, err := ann.Readiness(t.Context())
		if err != nil || got.Status != client.Ready || got.Checks["configuration"] != (client.Check{Status: tt.status, Detail: tt.says}) {
			t.Errorf("%+v: %+v, %v", tt.state, got, err)
		}
	}
}
