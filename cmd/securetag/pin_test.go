package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/config"
)

// A program that comes with this one is several plugins, all with its hash; a
// pin and dev stay as they are, and a build without sums runs what is there.
func TestPinBuiltIns(t *testing.T) {
	t.Parallel()
	plugins := func() map[string]config.Plugin {
		return map[string]config.Plugin{
			"secrets": {Command: "/srv/plugins/secrets"}, "semgrep": {Command: "/srv/plugins/sarif"}, "bandit": {Command: "/srv/plugins/sarif"},
			"pinned": {Command: "/srv/plugins/sarif", SHA256: "c"}, "mine": {Command: "/srv/plugins/sarif", Dev: true},
		}
	}
	type pin struct {
		Sum string
		Dev bool
	}
	pins := func(sums map[string]string) map[string]pin {
		all, out := plugins(), map[string]pin{}
		(&program{sums: sums}).pinBuiltIns(all)
		for name, p := range all {
			out[name] = pin{p.SHA256, p.Dev}
		}
		return out
	}
	want := map[string]pin{"secrets": {"a", false}, "semgrep": {"b", false}, "bandit": {"b", false}, "pinned": {"c", false}, "mine": {"", true}}
	if diff := cmp.Diff(want, pins(map[string]string{"secrets": "a", "sarif": "b"})); diff != "" {
		t.Error(diff)
	}
	want = map[string]pin{"secrets": {"", true}, "semgrep": {"", true}, "bandit": {"", true}, "pinned": {"c", false}, "mine": {"", true}}
	if diff := cmp.Diff(want, pins(map[string]string{})); diff != "" {
		t.Error(diff)
	}
}
