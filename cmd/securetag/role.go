package main

import (
	"context"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

func (n *node) runsJobs() bool      { return n.cfg.Server.Role != config.RoleAPI }
func (n *node) takesRequests() bool { return n.cfg.Server.Role != config.RoleWorker }

// openHealth opens what a host that takes no requests still answers.
func (n *node) openHealth(bells host.Doorbells, version string) (err error) {
	n.api, err = api.NewHealth(api.Deps{Store: n.store, Queue: bells, Log: n.log.Named("api"), Configuration: n.live, DatabaseNote: n.databaseNote},
		api.Config{Version: version, RequestTimeout: n.cfg.Server.RequestTimeout})
	if err != nil {
		return err
	}
	return n.listen()
}

// elsewhere is the executor of a host that rings for these plugins, so that
// what it accepts starts at once, and leaves them to other hosts.
type elsewhere []string

var _ host.Executor = elsewhere(nil)

func (e elsewhere) Plugins() []string { return e }

// Run is not called: such a host claims nothing.
func (elsewhere) Run(context.Context, host.Task, host.Sink) (host.Report, error) {
	return host.Report{}, &host.Fault{Code: host.CodePluginUnavailable, Message: "this host runs no plugins", Retryable: true}
}
