package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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
		for _, name := range slices.Sorted(maps.Keys(h.n.cfg.Plugins)) {
			out = append(out, host.PluginStatus{Name: name, State: "elsewhere", Isolation: h.n.cfg.Plugins[name].Isolation})
		}
		return out
	}
	for _, s := range h.n.executor.Status() {
		p := host.PluginStatus{
			Name: s.Name, State: string(s.State), Reason: s.Reason, Isolation: string(s.Isolation), Containment: s.Containment,
			SHA256: s.SHA256, Standby: s.Standby, Running: s.Running, Starts: s.Starts, Failed: s.Failed, Restarts: s.Restarts,
			Since: s.Since, Retry: s.Retry, DataUpdated: s.DataUpdatedAt,
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
	if h.n.executor == nil || h.n.reread == nil {
		return r, host.ErrNoPlugin
	}
	cfg, err := h.n.reread()
	if bad := (*config.Error)(nil); errors.As(err, &bad) {
		return r, wrongConfig{bad}
	}
	if err != nil {
		return r, err
	}
	known := h.n.executor.Plugins()
	if only != "" {
		if _, there := cfg.Plugins[only]; !there && !slices.Contains(known, only) {
			return r, host.ErrNotFound
		}
	}
	var plugins []executor.Plugin
	ec := executorConfig(cfg, "", "")
	if err := attach(&ec, cfg); err != nil {
		return r, err
	}
	h.n.confinement.apply(&ec, cfg)
	for _, p := range ec.Plugins {
		switch {
		case only != "" && p.Name != only:
		case slices.Contains(known, p.Name):
			plugins = append(plugins, p)
		default:
			r.Restart = append(r.Restart, p.Name)
		}
	}
	for _, name := range known {
		if _, there := cfg.Plugins[name]; !there && (only == "" || only == name) {
			r.Restart = append(r.Restart, name)
		}
	}
	slices.Sort(r.Restart)
	if r.Plugins, err = h.n.executor.Reload(plugins); err != nil {
		return r, fmt.Errorf("reload plugins: %w", err)
	}
	return r, nil
}

// wrongConfig is a mistake in the configuration, as host.ErrInvalid.
type wrongConfig struct{ err error }

func (w wrongConfig) Error() string        { return w.err.Error() }
func (w wrongConfig) Is(target error) bool { return target == host.ErrInvalid }
