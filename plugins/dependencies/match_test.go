package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk"
)

func TestAffects(t *testing.T) {
	t.Parallel()
	two := `[{"introduced":"1.0.0"},{"fixed":"1.2.0"},{"introduced":"2.0.0"},{"fixed":"2.1.0"}]`
	for _, c := range []struct {
		ecosystem, events, version string
		affected                   bool
		fixed                      string
	}{
		{"npm", two, "0.9.0", false, ""},
		{"npm", two, "1.0.0", true, "1.2.0"},
		{"npm", two, "1.2.0-beta", true, "1.2.0"},
		{"npm", two, "1.2.0", false, ""},
		{"npm", two, "2.0.9", true, "2.1.0"},
		{"npm", two, "10.0.0", false, ""},
		{"npm", `[{"fixed":"2.1.0"},{"introduced":"0"}]`, "1.0.0", true, "2.1.0"}, // in any order
		{"npm", `[{"introduced":"0"},{"last_affected":"1.5.0"}]`, "1.5.0", true, ""},
		{"npm", `[{"introduced":"0"},{"last_affected":"1.5.0"}]`, "1.5.1", false, ""},
		{"npm", `[{"introduced":"0"},{"limit":"1.5.0"}]`, "1.4.0", true, ""},
		{"npm", `[{"introduced":"0"},{"limit":"1.5.0"}]`, "1.5.0", false, ""},
		{"npm", `[{"introduced":"0"},{"limit":"*"}]`, "9.0.0", true, ""},
		{"PyPI", `[{"introduced":"0"},{"fixed":"3.0"}]`, "3.0rc1", true, "3.0"},
		{"PyPI", `[{"introduced":"0"},{"fixed":"3.0"}]`, "3.0.post1", false, ""},
		{"Maven", `[{"introduced":"2.0-beta9"},{"fixed":"2.3.1"}]`, "2.0-rc1", true, "2.3.1"},
		{"Go", `[{"introduced":"0"},{"fixed":"0.0.0-20220906165146-f3363e06e74c"}]`, "0.0.0-20210226172049-e18ecbb05110", true, "0.0.0-20220906165146-f3363e06e74c"},
		{"RubyGems", `[{"introduced":"0"},{"fixed":"2.1.4"}]`, "2.1.4.pre", true, "2.1.4"},
		{"Packagist", `[{"introduced":"0"},{"fixed":"1.8.4"}]`, "v1.8.3", true, "1.8.4"},
		{"NuGet", `[{"introduced":"0"},{"fixed":"13.0.1"}]`, "9.0.1", true, "13.0.1"},
	} {
		all, _, err := parseRecord([]byte(`{"id":"X-1","affected":[{"package":{"ecosystem":"` + c.ecosystem + `:suffix","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":` + c.events + `}]}]}`))
		if err != nil || len(all) != 1 {
			t.Fatal(err, all)
		}
		affected, fixed, err := all[about{c.ecosystem, "p"}].affects(c.ecosystem, c.version)
		if affected != c.affected || err != nil || affected && fixed != c.fixed {
			t.Errorf("%s %s in %s: %v, fixed %q, %v", c.ecosystem, c.version, c.events, affected, fixed, err)
		}
	}
}

func TestVersionsByName(t *testing.T) {
	t.Parallel()
	a := advisory{ID: "X-1", Versions: []string{"v1.0.0", "1.1.0"}}
	for version, want := range map[string]bool{"1.0.0": true, "v1.1.0": true, "1.2.0": false} {
		if got, _, err := a.affects("Packagist", version); got != want || err != nil {
			t.Errorf("%s: %v, %v", version, got, err)
		}
	}
}

// What says nothing that can be looked up is not kept.
func TestRecordsLeftOut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"id":"A","withdrawn":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"p"},"versions":["1"]}]}`: "",
		`{"id":"A","affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"GIT","events":[]}]}]}`:               "",
		`{"id":"A","affected":[{"package":{"ecosystem":"Linux","name":"p"},"versions":["1"]}]}`:                                  "",
		`{"id":"A","affected":[{"package":{"ecosystem":"PyPI","name":"Some.Name"},"versions":["1"]}]}`:                           "some-name",
		`{}`:        "no id",
		`[]`:        "cannot unmarshal",
		`{"id":"A"`: "unexpected end",
	} {
		all, _, err := parseRecord([]byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		for about := range all {
			got = about.name
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestRating(t *testing.T) {
	t.Parallel()
	v31 := severity{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}
	v30 := severity{"CVSS_V3", "CVSS:3.0/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}
	v40 := severity{"CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}
	v20 := severity{"CVSS_V2", "AV:N/AC:M/Au:N/C:P/I:P/A:P"}
	for _, c := range []struct {
		severity []severity
		label    string
		want     rating
	}{
		{[]severity{v31}, "LOW", rating{sdk.Critical, v31.Score, 10}},
		{[]severity{v31, v40, v20}, "", rating{sdk.Critical, v40.Score, 9.3}},
		{[]severity{v20}, "", rating{sdk.Medium, v20.Score, 6.8}},
		{[]severity{v30}, "", rating{sdk.Low, v30.Score, 1.8}},
		{[]severity{v30, v31}, "", rating{sdk.Critical, v31.Score, 10}},
		{[]severity{{"CVSS_V3", "CVSS:3.1/nonsense"}}, "HIGH", rating{severity: sdk.High}},
		{nil, "CRITICAL", rating{severity: sdk.Critical}},
		{nil, "moderate", rating{severity: sdk.Medium}},
		{nil, "", rating{severity: sdk.Medium}},
	} {
		a := advisory{Severity: c.severity, Label: c.label}
		if diff := cmp.Diff(c.want, a.rate(), cmp.AllowUnexported(rating{})); diff != "" {
			t.Errorf("%v: %s", c.severity, diff)
		}
	}
}

// Records that name each other's ids are one finding, whatever their order.
func TestTogether(t *testing.T) {
	t.Parallel()
	a := match{ids: []string{"GO-1", "CVE-1"}, own: "GO-1", fixed: "1.1.0", rule: ruleVulnerable, text: "by Go", rating: rating{severity: sdk.Medium}}
	b := match{ids: []string{"GHSA-1", "CVE-2"}, own: "GHSA-1", fixed: "1.2.0", rule: ruleVulnerable, text: "by GitHub", rating: rating{sdk.High, "vector", 7.5}}
	c := match{ids: []string{"PYSEC-1", "CVE-1", "CVE-2"}, own: "PYSEC-1", rule: ruleVulnerable, text: "joins both", rating: rating{severity: sdk.Medium}}
	d := match{ids: []string{"CVE-3"}, own: "CVE-3", rule: ruleVulnerable, text: "another", rating: rating{severity: sdk.Medium}}
	want := []match{
		{ids: []string{"CVE-1", "CVE-2", "GHSA-1", "GO-1", "PYSEC-1"}, own: "GHSA-1", fixed: "1.2.0", rule: ruleVulnerable, text: "by GitHub", rating: b.rating},
		d,
	}
	for _, in := range [][]match{{a, b, c, d}, {c, a, d, b}, {d, b, a, c}} {
		if diff := cmp.Diff(want, together(in, "npm"), cmp.AllowUnexported(match{}, rating{})); diff != "" {
			t.Error(diff)
		}
	}
}

// What is malicious to one database is, also where another rates it lower.
func TestTogetherMalicious(t *testing.T) {
	t.Parallel()
	mal := match{ids: []string{"MAL-1", "GHSA-1"}, own: "MAL-1", rule: ruleMalicious, text: "bad", rating: rating{severity: sdk.Critical}}
	vul := match{ids: []string{"GHSA-1"}, own: "GHSA-1", rule: ruleVulnerable, text: "vulnerable", rating: rating{sdk.Medium, "vector", 5}}
	old := match{ids: []string{"RUSTSEC-1", "GHSA-1"}, own: "RUSTSEC-1", rule: ruleUnmaintained, text: "old", rating: rating{severity: sdk.Low}}
	word := match{ids: []string{"GHSA-1"}, own: "GHSA-1", rule: ruleVulnerable, text: "by a word", rating: rating{severity: sdk.High}}
	for _, c := range []struct {
		in       []match
		rule     string
		severity sdk.Severity
	}{
		{[]match{mal, vul}, ruleMalicious, sdk.Critical}, {[]match{vul, mal}, ruleMalicious, sdk.Critical},
		{[]match{old, vul}, ruleVulnerable, sdk.Medium}, {[]match{vul, old}, ruleVulnerable, sdk.Medium},
		{[]match{old, word}, ruleVulnerable, sdk.High}, {[]match{word, old}, ruleVulnerable, sdk.High},
	} {
		got := together(c.in, "npm")
		if len(got) != 1 || got[0].rule != c.rule || got[0].rating.severity != c.severity {
			t.Errorf("%+v: %+v", c.in, got)
		}
	}
}

// FuzzRecord: whatever a record says, versions can be held against it.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"id":"X","affected":[{"package":{"ecosystem":"npm","name":"p"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1"}]}],"versions":["1"]}]}`), "1.0.0")
	f.Add([]byte(`{"id":"X","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N"}],"affected":[{"package":{"ecosystem":"Maven","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"1-"},{"limit":"*"}]}]}]}`), "..-")
	f.Fuzz(func(t *testing.T, raw []byte, version string) {
		if len(raw) > 8<<10 || len(version) > 200 {
			return
		}
		all, _, err := parseRecord(raw)
		if err != nil {
			return
		}
		for about, a := range all {
			_, fixed, err := a.affects(about.ecosystem, version)
			if err != nil {
				continue
			}
			m := newMatch(*a, fixed)
			if together([]match{m, m}, about.ecosystem)[0].message(dependency{name: about.name, version: version}) == "" {
				t.Error("no message")
			}
		}
	})
}
