package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/config"
)

// parseSums reads what the linker set.
func parseSums(s string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		if name, sum, ok := strings.Cut(pair, "="); ok {
			out[name] = sum
		}
	}
	return out
}

// builtIns names the plugins that come with this program.
func (p *program) builtIns() []string {
	if len(p.sums) == 0 {
		names := []string{"dependencies", "gosec", "iac"}
		for _, c := range config.Default().Plugins {
			names = append(names, c.Command)
		}
		return slices.Sorted(slices.Values(names))
	}
	return slices.Sorted(maps.Keys(p.sums))
}

// pinBuiltIns pins the plugins that came with this program; config has seen to
// it that no other is without a pin. A build that knows no sums is one for
// development, and so are its plugins. One program may be several plugins, as
// sarif is, so it is known by its file's name.
func (p *program) pinBuiltIns(plugins map[string]config.Plugin) {
	for name, c := range plugins {
		if c.SHA256 == "" && !c.Dev {
			c.SHA256 = p.sums[filepath.Base(c.Command)]
			c.Dev = c.SHA256 == ""
			plugins[name] = c
		}
	}
}
