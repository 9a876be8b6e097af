package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// hostPlugins are the plugins of a host, for those who ask.
type hostPlugins struct{ n *node }

var _ host.Plugins = hostPlugins{}

// Status implements host.Plugins.
func (h hostPlugins) Status() []host.PluginStatus {
	var out []host.PluginStatus
	if h.n.executor == nil {
		plugins := h.n.live.config().Plugins
		for _, name := range slices.Sorted(maps.Keys(plugins)) {
			out = append(out, host.PluginStatus{Name: name, State: "elsewhere", Isolation: plugins[name].Isolation})
		}
		return out
	}
	for _, s := range h.n.executor.Status() {
		p := host.PluginStatus{
			Name: s.Name, State: string(s.State), Reason: s.Reason, Isolation: string(s.Isolation), Containment: s.Containment,
			SHA256: s.SHA256, Standby: s.Standby, Running: s.Running, Starts: s.Starts, Failed: s.Failed, Restarts: s.Restarts,
			Since: s.Since, Retry: s.Retry, DataUpdated: s.DataUpdatedAt, Egress: host.Egress(s.Egress),
		}
		if i := s.Info; i != nil {
			p.Version, p.Description, p.Inputs, p.Rules = i.Version, i.Description, i.Inputs, len(i.Rules)
		}
		out = append(out, p)
	}
	return out
}

// Reload implements host.Plugins: it takes the plugins' blocks, or that of one,
// and nothing else of the configuration.
func (h hostPlugins) Reload(_ context.Context, only string) (r host.Reloaded, err error) {
	if h.n.executor == nil {
		return r, host.ErrNoPlugin
	}
	done, err := h.n.live.reloadPlugins(only)
	if err != nil {
		return r, err
	}
	r.Plugins = done.Plugins
	for _, c := range done.Changes {
		if c.Restart {
			r.Restart = append(r.Restart, strings.TrimPrefix(c.Path, "plugin."))
		}
	}
	return r, nil
}

// reloadExecutor gives the executor the plugins of cfg, which are those that it
// has, or only one of them. It gives the names of those that begin anew.
func (n *node) reloadExecutor(cfg config.Config, only string) ([]string, error) {
	if n.executor == nil {
		return nil, nil
	}
	ec := executorConfig(cfg, "", "")
	if err := attach(&ec, cfg); err != nil {
		return nil, err
	}
	if err := n.confinement.apply(&ec, cfg); err != nil {
		return nil, err
	}
	ec.Plugins = slices.DeleteFunc(ec.Plugins, func(p executor.Plugin) bool { return only != "" && p.Name != only })
	begun, err := n.executor.Reload(ec.Plugins)
	if err != nil {
		return nil, fmt.Errorf("reload plugins: %w", err)
	}
	return begun, nil
}
