package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
)

// TestMissing: an operator hears at the start of a plugin that scans will want and
// that is not there, and of no other.
func TestMissing(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	dir := t.TempDir()
	for name, p := range cfg.Plugins {
		p.Command = filepath.Join(dir, "nowhere", name)
		cfg.Plugins[name] = p
	}
	there := cfg.Plugins["secrets"]
	there.Command = dir
	cfg.Plugins["secrets"] = there
	web := cfg.Scans["web"]
	web.Plugins = nil
	cfg.Scans["web"] = web
	var log bytes.Buffer
	tellMissing(cfg, hclog.New(&hclog.LoggerOptions{Output: &log}))
	for _, name := range []string{"gosec", "iac", "dependencies", "import"} {
		if n := strings.Count(log.String(), "plugin="+name+" "); n != 1 {
			t.Errorf("%s is named %d times:\n%s", name, n, &log)
		}
	}
	for _, name := range []string{"secrets", "web"} {
		if strings.Contains(log.String(), "plugin="+name+" ") {
			t.Errorf("%s is named:\n%s", name, &log)
		}
	}
}
