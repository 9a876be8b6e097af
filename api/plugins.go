package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerPlugins(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "list-plugins", Method: http.MethodGet, Path: "/plugins",
		Summary: "The plugins of this host", Tags: []string{"plugins"}, Security: security(),
	}, a.listPlugins)
	admin := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"admin"},
			Security: operatorSecurity(), Metadata: map[string]any{forOperators: true}}
	}
	huma.Register(doc, admin("list-plugin-details", http.MethodGet, "/admin/plugins", "The plugins of this host, and how each does"), a.listPluginDetails)
	reload := admin("reload-plugins", http.MethodPost, "/admin/plugins/reload", "Read the configuration of the plugins again")
	reload.Description = "Plugins whose block or files changed, and those that do not start, begin anew. Running jobs keep their processes. Only the host that answers does it."
	reload.BodyReadTimeout = -1 // body.go has its own
	reload.Errors = []int{http.StatusNotImplemented}
	huma.Register(doc, reload, a.reloadPlugins)
}

type pluginsOutput struct{ Body client.Page[client.Plugin] }

func (a *API) listPlugins(context.Context, *struct{}) (*pluginsOutput, error) {
	out := &pluginsOutput{}
	out.Body.Items = []client.Plugin{}
	for _, s := range a.deps.Plugins.Status() {
		out.Body.Items = append(out.Body.Items, wirePlugin(s))
	}
	return out, nil
}

type pluginDetailsOutput struct {
	Body client.Page[client.PluginDetail]
}

func (a *API) listPluginDetails(context.Context, *struct{}) (*pluginDetailsOutput, error) {
	out := &pluginDetailsOutput{}
	out.Body.Items = []client.PluginDetail{}
	for _, s := range a.deps.Plugins.Status() {
		out.Body.Items = append(out.Body.Items, client.PluginDetail{
			Plugin: wirePlugin(s), Reason: s.Reason, Isolation: s.Isolation, Containment: s.Containment, SHA256: s.SHA256,
			Standby: s.Standby, Running: s.Running, Starts: s.Starts, Failed: s.Failed, Restarts: s.Restarts,
			Since: s.Since.UTC(), Retry: wireTime(s.Retry), DataUpdated: wireTime(s.DataUpdated),
		})
	}
	return out, nil
}

func wirePlugin(s host.PluginStatus) client.Plugin {
	p := client.Plugin{Name: s.Name, State: s.State, Version: s.Version, Description: s.Description, Rules: s.Rules}
	for _, in := range s.Inputs {
		p.Inputs = append(p.Inputs, string(in))
	}
	return p
}

type reloadInput struct {
	Plugin string `query:"plugin" maxLength:"200" doc:"Only this one."`
}

type reloadOutput struct{ Body client.Reload }

func (a *API) reloadPlugins(ctx context.Context, in *reloadInput) (*reloadOutput, error) {
	if in.Plugin != "" {
		recordOf(ctx).about("plugin " + in.Plugin)
	}
	r, err := a.deps.Plugins.Reload(ctx, in.Plugin)
	if err != nil {
		p := configProblem(err)
		switch {
		case errors.Is(err, host.ErrNotFound):
			p.Detail = "There is no such plugin on this host, nor in its configuration."
		case errors.Is(err, host.ErrNoPlugin):
			p.Detail = "This host starts no plugins: ask one whose server.role is all or worker, or restart it."
		}
		return nil, p
	}
	a.log.Info("reloaded plugins", "operator", recordOf(ctx).operator, "plugins", r.Plugins, "needs_restart", r.Restart)
	return &reloadOutput{client.Reload{Reloaded: append([]string{}, r.Plugins...), Restart: append([]string{}, r.Restart...)}}, nil
}
