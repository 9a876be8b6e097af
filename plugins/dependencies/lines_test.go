package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestLongLines: the engine ends some files at a line that is too long for it, and
// says nothing: what is behind it is not missing in silence.
func TestLongLines(t *testing.T) {
	t.Parallel()
	long, fits := strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10-2)
	gems := func(line string) string {
		return "GEM\n  remote: https://rubygems.org/\n  specs:\n" + line + "\n    rails (5.0.0)\n"
	}
	yarn := func(line string) string {
		return "# yarn lockfile v1\n\n" + line + "\nlodash@^4.0.0:\n  version \"4.17.4\"\n  resolved \"https://registry.yarnpkg.com/lodash/-/lodash-4.17.4.tgz#x\"\n"
	}
	for name, tt := range map[string]struct {
		files  map[string]string
		status string
	}{
		"Gemfile.lock":          {map[string]string{"Gemfile.lock": gems("      " + long)}, sdktest.Partial},
		"Gemfile.lock fits":     {map[string]string{"Gemfile.lock": gems("#" + fits)}, sdktest.Succeeded},
		"yarn.lock":             {map[string]string{"yarn.lock": yarn("#" + long)}, sdktest.Partial},
		"yarn.lock fits":        {map[string]string{"yarn.lock": yarn("#" + fits)}, sdktest.Succeeded},
		"requirements":          {map[string]string{"requirements.txt": "#" + long + "\ndjango==3.2.10\n"}, sdktest.Partial},
		"included":              {map[string]string{"requirements.txt": "-r pins.txt\n", "pins.txt": "#" + long + "\ndjango==3.2.10\n"}, sdktest.Partial},
		"included fits":         {map[string]string{"requirements.txt": "-r pins.txt\n", "pins.txt": "#" + fits + "\ndjango==3.2.10\n"}, sdktest.Succeeded},
		"of no other":           {map[string]string{"package-lock.json": `{"lockfileVersion": 3, "x": "` + long + `", "packages": {"node_modules/lodash": {"version": "4.17.4"}}}`}, sdktest.Succeeded},
		"requirements/base.txt": {map[string]string{"requirements/base.txt": "django==3.2.10\n", "pyproject.toml": "[project]\ndependencies = [\"django\"]\n"}, sdktest.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := scanApp(t, sdktest.Request{Root: writeFiles(t, tt.files), Config: fmt.Sprintf(`{"database": %q}`, sampleDir(t))})
			if r.Status != tt.status || tt.status == sdktest.Succeeded && !strings.HasSuffix(name, ".lock fits") && len(r.Findings) == 0 {
				t.Errorf("%s: %s, %d findings, notes %q", r.Status, r.Reason, len(r.Findings), r.Notes)
			}
			if strings.Contains(strings.Join(r.Notes, " "), "without a lockfile") {
				t.Errorf("notes %q", r.Notes)
			}
		})
	}
}
