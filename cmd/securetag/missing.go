package main

import (
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
)

// tellMissing logs which plugins that scan types name have no program here. A host
// runs without them, and their jobs fail and say so; most plugins are started with
// their first job, when it is too late to hear of it.
func tellMissing(cfg config.Config, log hclog.Logger) {
	used := map[string][]string{} // plugin to scan types
	for _, scan := range slices.Sorted(maps.Keys(cfg.Scans)) {
		for _, plugin := range cfg.Scans[scan].Plugins {
			used[plugin] = append(used[plugin], scan)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if _, err := os.Stat(cfg.Plugins[name].Command); err != nil {
			log.Error("a plugin's program is not there: its jobs will fail. Put it there, or take the plugin out of the scan type",
				"plugin", name, "scan_types", used[name], "error", err)
		}
	}
}
