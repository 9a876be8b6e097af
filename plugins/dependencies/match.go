package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const (
	ruleVulnerable   = "vulnerable-dependency"
	ruleMalicious    = "malicious-dependency"
	ruleUnmaintained = "unmaintained-dependency"
)

func rules() []sdk.Rule {
	return []sdk.Rule{{
		ID: ruleVulnerable, Title: "Dependency with a known vulnerability",
		Description:    "A lockfile names a version of a package for which there is a published advisory.",
		Recommendation: "Update to the version that the finding names. Where the package is not a direct dependency, update the one that brings it, or override its version.",
		Severity:       sdk.Medium, CWE: []int{1395}, Tags: []string{"dependency"}, HelpURL: "https://osv.dev",
	}, {
		ID: ruleMalicious, Title: "Malicious dependency",
		Description:    "A lockfile names a version of a package that was published to do harm.",
		Recommendation: "Remove it. Take every machine that has installed it for broken into: replace what credentials it had.",
		Severity:       sdk.Critical, CWE: []int{506}, Tags: []string{"dependency"}, HelpURL: "https://osv.dev",
	}, {
		ID: ruleUnmaintained, Title: "Unmaintained dependency",
		Description:    "A lockfile names a package whose maintainers have stopped: a vulnerability found later will not be fixed.",
		Recommendation: "Replace it; the advisory names alternatives where there are any.",
		Severity:       sdk.Low, CWE: []int{1104}, Tags: []string{"dependency"}, HelpURL: "https://osv.dev",
	}}
}

// match is one problem of one version of a package: the advisories that mean
// the same.
type match struct {
	ids    []string // a CVE first, then GitHub's, then others
	own    string   // id of an advisory that can be looked up
	fixed  string   // the least version without it; "": none is known
	rule   string
	text   string
	rating rating
}

// matcher looks versions up once each.
type matcher struct {
	db     *database
	known  map[about]map[string][]match
	failed map[string]string // versions that could not be compared, with the reason
}

func (m *matcher) of(ecosystem, name, version string) ([]match, error) {
	key := about{ecosystem, name}
	if out, ok := m.known[key][version]; ok {
		return out, nil
	}
	all, err := m.db.of(ecosystem, keyOf(name, ecosystem))
	if err != nil {
		return nil, err
	}
	var out []match
	for _, a := range all {
		affected, fixed, err := a.affects(ecosystem, version)
		if err != nil {
			m.failed[name+" "+version] = err.Error()
			continue
		}
		if affected {
			out = append(out, newMatch(a, fixed))
		}
	}
	out = together(out, ecosystem)
	if m.known[key] == nil {
		m.known[key] = map[string][]match{}
	}
	m.known[key][version] = out
	return out, nil
}

func newMatch(a advisory, fixed string) match {
	out := match{ids: append([]string{a.ID}, a.Aliases...), own: a.ID, fixed: fixed, rule: ruleVulnerable, text: a.Summary, rating: a.rate()}
	switch {
	case a.Malicious:
		out.rule, out.rating.severity = ruleMalicious, sdk.Critical
	case a.Informational == "unmaintained":
		out.rule, out.rating.severity = ruleUnmaintained, sdk.Low
	}
	return out
}

// together joins matches that share an id: several databases describe the same
// vulnerability. The worst rating counts, and the fix that satisfies all.
func together(in []match, ecosystem string) []match {
	var out []match
	for _, m := range in {
		for i := 0; i < len(out); {
			if !slices.ContainsFunc(out[i].ids, func(id string) bool { return slices.Contains(m.ids, id) }) {
				i++
				continue
			}
			m = m.with(out[i], ecosystem)
			out = slices.Delete(out, i, i+1)
		}
		out = append(out, m)
	}
	for i := range out {
		slices.SortFunc(out[i].ids, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
		out[i].ids = slices.Compact(out[i].ids)
	}
	slices.SortFunc(out, func(a, b match) int { return cmp.Compare(a.ids[0], b.ids[0]) })
	return out
}

func (m match) with(o match, ecosystem string) match {
	m.ids = append(slices.Clip(m.ids), o.ids...)
	if m.fixed == "" || o.fixed != "" && less(m.fixed, o.fixed, ecosystem) {
		m.fixed = o.fixed
	}
	// One with a vector knows more than one without.
	if mv, ov := m.rating.vector != "", o.rating.vector != ""; ov && !mv || ov == mv && o.rating.severity > m.rating.severity {
		m.rating = o.rating
	}
	if rank(o.own) < rank(m.own) || m.text == "" {
		m.own, m.text = o.own, cmp.Or(o.text, m.text)
	}
	switch {
	case m.rule == ruleMalicious || o.rule == ruleMalicious:
		m.rule, m.rating.severity = ruleMalicious, sdk.Critical
	case m.rule != o.rule: // unmaintained, to one of them
		m.rule = ruleVulnerable
	}
	return m
}

// rank orders ids: what stays the same whoever describes it comes first.
func rank(id string) int {
	switch {
	case strings.HasPrefix(id, "CVE-"):
		return 0
	case strings.HasPrefix(id, "GHSA-"):
		return 1
	}
	return 2
}

// matchAll reports the problems of all packages.
func (s *scan) matchAll(ctx context.Context, db *database, all []dependency) error {
	m := &matcher{db: db, known: map[about]map[string][]match{}, failed: map[string]string{}}
	left := newLeftOut()
	for i, d := range all {
		if i%256 == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.out.Progress(sdk.Progress{Phase: "looking up", Done: uint64(i), Total: uint64(len(all)), Unit: "packages"})
		}
		if left.why(db, d) {
			continue
		}
		found, err := m.of(d.ecosystem, d.name, d.version)
		if err != nil {
			return err
		}
		for _, f := range found {
			s.out.Finding(f.rule, f.finding(d))
		}
	}
	left.tell(s.out)
	for _, name := range sortedKeys(m.failed) {
		s.out.Note(sdk.Note{Level: sdk.Warning, Summary: "could not be compared with advisories: " + name, Detail: m.failed[name]})
		s.out.Partial("some versions could not be compared with advisories")
	}
	return nil
}

func (m match) finding(d dependency) sdk.Finding {
	f := sdk.Finding{
		Message: m.message(d), Severity: m.rating.severity, Confidence: sdk.ConfidenceHigh,
		At: sdk.Location{Path: d.path, StartLine: d.line},
		// No snippet: the line may have the credentials of a registry.
		Identity: []string{m.ids[0], d.ecosystem, d.name},
		Properties: map[string]string{
			"id": m.own, "package": d.name, "ecosystem": d.ecosystem, "version": d.version, "purl": d.purl,
			"url": "https://osv.dev/vulnerability/" + m.own,
		},
	}
	if d.allows != "" {
		f.Confidence = sdk.ConfidenceLow // that version need not be the one in use
		f.Properties["requirement"] = d.allows
	}
	if others := slices.DeleteFunc(slices.Clone(m.ids), func(id string) bool { return id == m.own }); len(others) > 0 {
		f.Properties["aliases"] = strings.Join(others[:min(len(others), 30)], ",")
	}
	if m.fixed != "" {
		f.Properties["fixed_version"] = m.fixed
	}
	if m.rating.vector != "" {
		f.Properties["cvss"] = m.rating.vector
		f.Properties["cvss_score"] = strconv.FormatFloat(m.rating.score, 'f', 1, 64)
	}
	if d.dev {
		f.Properties["dev"] = "true"
	}
	return f
}

// message says what is wrong and what to do.
func (m match) message(d dependency) string {
	what := d.name + " " + d.version
	switch {
	case d.ecosystem == "Go" && d.name == "stdlib":
		what = "it is built with Go " + d.version + " or later, whose standard library"
	case d.allows != "":
		what = fmt.Sprintf("%s is required as %s, which allows %s: it", d.name, d.allows, d.version)
	}
	ids := m.ids[0]
	if len(m.ids) > 1 {
		ids += " (" + strings.Join(m.ids[1:min(len(m.ids), 4)], ", ") + ")"
	}
	text := cmp.Or(m.text, "the advisory has no summary")
	switch {
	case m.rule == ruleMalicious:
		return fmt.Sprintf("%s is malicious, %s: %s. Remove it, and take every machine that has installed it for broken into.", what, ids, text)
	case m.rule == ruleUnmaintained:
		return fmt.Sprintf("%s is not maintained any more, %s: %s. Replace it.", what, ids, text)
	case m.fixed == "":
		return fmt.Sprintf("%s has %s: %s. No version is known that fixes it: replace the package, or see the advisory for a way around it.", what, ids, text)
	case d.allows != "":
		return fmt.Sprintf("%s has %s: %s. Require %s or later.", what, ids, text, m.fixed)
	}
	return fmt.Sprintf("%s has %s: %s. Update it to %s or later.", what, ids, text, m.fixed)
}
