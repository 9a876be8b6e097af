package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/sdk/wire"
)

// attach has the executor dial the plugin processes that their authors started
// with --debug, as SECURETAG_REATTACH says. Nothing has checked what they run, so
// only a plugin with dev = true can be one.
func attach(ec *executor.Config, cfg config.Config) error {
	given, err := executor.ParseAttach(os.Getenv(wire.ReattachKey))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		p, there := cfg.Plugins[name]
		if !there || !p.Dev {
			return fmt.Errorf("%s names plugin %q: only a plugin whose block has dev = true can be attached to: %w", wire.ReattachKey, name, host.ErrInvalid)
		}
	}
	for i, p := range ec.Plugins {
		if at, there := given[p.Name]; there {
			ec.Plugins[i].Attach = &at
		}
	}
	return nil
}
