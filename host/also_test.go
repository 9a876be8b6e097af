package host_test

import (
	"testing"

	"github.com/securetaghq/securetag/host"
)

// TestSpotOf: the same kind of problem in the same file has one key, whatever
// plugin and rule; what was not classified, or is in no file, has none.
func TestSpotOf(t *testing.T) {
	t.Parallel()
	spot := func(path string, from, to int, tag string, cwe ...int) host.Spot {
		f := host.Finding{Location: host.Location{Path: path, StartLine: from, EndLine: to}, CWE: cwe}
		if tag != "" {
			f.Tags = []string{tag}
		}
		s, ok := host.SpotOf(f)
		if ok != (path != "" && (tag == "secret" || len(cwe) > 0)) {
			t.Errorf("%q, %q, %v: a spot %t", path, tag, cwe, ok)
		}
		return s
	}
	a := spot("a", 1, 0, "", 89)
	for what, same := range map[string][2]host.Spot{
		"a secret by tag and by CWE": {spot("a", 3, 3, "secret"), spot("a", 3, 0, "", 20, 321)},
		"further CWEs":               {a, spot("a", 1, 1, "", 89, 20)},
		"lines that make no sense":   {spot("a", 0, 0, "", 1), spot("a", -1, 7, "", 1)},
		"an end before the start":    {spot("a", 5, 2, "", 1), spot("a", 5, 5, "", 1)},
		"longer than is looked at":   {spot("a", 5, 5+host.SpotReach, "", 1), spot("a", 5, 1<<40, "", 1)},
	} {
		if same[0] != same[1] {
			t.Errorf("%s: %+v and %+v", what, same[0], same[1])
		}
	}
	for what, other := range map[string]host.Spot{
		"path": spot("b", 1, 0, "", 89), "CWE": spot("a", 1, 0, "", 79), "secret": spot("a", 1, 0, "secret"),
		"where the path begins": spot("9a", 1, 0, "", 8), "order of CWEs": spot("a", 1, 0, "", 20, 89),
	} {
		if other.Key == a.Key {
			t.Errorf("another %s has the same key", what)
		}
	}
	spot("", 1, 0, "secret")
	spot("a", 1, 0, "other")
}

// TestNothingScanned: only when every plugin says so.
func TestNothingScanned(t *testing.T) {
	t.Parallel()
	idle := host.Job{State: host.StateSucceeded, Remarks: host.Remarks{NotApplicable: "no Go files"}}
	failed := idle
	failed.State = host.StateFailed
	for _, c := range []struct {
		jobs []host.Job
		want bool
	}{{nil, false}, {[]host.Job{idle, idle}, true}, {[]host.Job{idle, {State: host.StateSucceeded}}, false}, {[]host.Job{failed}, false}} {
		s := host.Scan{State: host.StateSucceeded, Jobs: c.jobs}
		if s.NothingScanned() != c.want {
			t.Errorf("%+v: %t", c.jobs, !c.want)
		}
		if v := host.Judge(s, host.GateFacts{}); c.want && (v.Passed || len(v.Reasons) == 0) {
			t.Errorf("a scan of nothing passes: %+v", v)
		}
	}
}
