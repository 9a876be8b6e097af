package config_test

import (
	"path/filepath"
	"testing"

	"github.com/securetaghq/securetag/config"
)

// TestRecipes: every configuration beside an example of a plugin is one that a
// host takes, without a pin where the plugin comes with it.
func TestRecipes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../examples/plugins/*/securetag.hcl")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			file, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := config.Load(config.Options{Path: file, Dir: t.TempDir(), Executable: "/srv/bin/securetag", BuiltIn: []string{"secrets", "dependencies", "iac", "gosec", "sarif", "web"}})
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(filepath.Dir(file))
			if p, ok := loaded.Config.Plugins[name]; !ok || p.Command != "/srv/bin/plugins/sarif" || p.Sandbox != "required" || p.Network != "none" {
				t.Errorf("plugin %s: %+v", name, p)
			}
		})
	}
}
