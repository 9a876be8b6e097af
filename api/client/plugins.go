package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Plugin is one that the host can run, as a tenant sees it.
type Plugin struct {
	Name        string   `json:"name"`
	State       string   `json:"state" enum:"unknown,starting,ready,degraded,backoff,quarantined,stopped,elsewhere" doc:"How it does on the host that answers; elsewhere: that host starts no plugins."`
	Version     string   `json:"version,omitempty" doc:"Left out, with the rest, while it has not been started."`
	Description string   `json:"description,omitempty"`
	Inputs      []string `json:"inputs,omitempty" doc:"What it scans: archive, url."`
	Rules       int      `json:"rules" doc:"How many kinds of problems it finds."`
}

// PluginDetail is a plugin as an operator sees it.
type PluginDetail struct {
	Plugin
	Reason      string     `json:"reason,omitempty" doc:"Why it is not ready."`
	Isolation   string     `json:"isolation,omitempty"`
	Containment string     `json:"containment,omitempty" doc:"How its processes are kept together, or the layers of their sandbox, and what ought to hold and does not."`
	SHA256      string     `json:"sha256,omitempty" doc:"What is pinned; left out in development."`
	Standby     int        `json:"standby" doc:"Processes that wait for a job, or the shared one."`
	Running     int        `json:"running" doc:"Jobs that run now."`
	Starts      int        `json:"starts" doc:"Processes that were started."`
	Failed      int        `json:"start_failures"`
	Restarts    int        `json:"restarts" doc:"Processes that were replaced because they died or broke."`
	Since       time.Time  `json:"since" doc:"Of the state."`
	Retry       *time.Time `json:"retry_at,omitempty" doc:"When a quarantined plugin is tried once more; left out when only a change helps."`
	DataUpdated *time.Time `json:"data_updated_at,omitempty" doc:"How old its rules or databases are, as it says."`
}

// Reload is what became of reading the plugins' configuration again.
type Reload struct {
	Reloaded []string `json:"reloaded" doc:"Plugins that begin anew: new jobs get new processes, running ones keep theirs."`
	Restart  []string `json:"needs_restart" doc:"Plugins that are new in the configuration, or gone from it: for these the host must be restarted."`
}

// Plugins lists the plugins of the host that answers.
func (c *Client) Plugins(ctx context.Context) ([]Plugin, error) {
	var p Page[Plugin]
	_, err := c.get(ctx, "/plugins", nil, &p)
	return p.Items, err
}

// PluginDetails lists them with all that operators see. It takes an operator's
// key.
func (c *Client) PluginDetails(ctx context.Context) ([]PluginDetail, error) {
	var p Page[PluginDetail]
	_, err := c.get(ctx, "/admin/plugins", nil, &p)
	return p.Items, err
}

// ReloadPlugins makes the host that answers read its plugins' configuration
// again. It takes an operator's key.
func (c *Client) ReloadPlugins(ctx context.Context) (Reload, error) { return c.reload(ctx, nil) }

// ReloadPlugin is ReloadPlugins for one plugin. The error has Status 404 when there
// is none of that name.
func (c *Client) ReloadPlugin(ctx context.Context, name string) (Reload, error) {
	return c.reload(ctx, url.Values{"plugin": {name}})
}

func (c *Client) reload(ctx context.Context, query url.Values) (r Reload, err error) {
	_, err = c.send(ctx, request{method: http.MethodPost, path: "/admin/plugins/reload", query: query}, &r)
	return r, err
}
