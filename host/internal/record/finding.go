package record

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
)

// detail is what of a finding is only shown, never searched.
type detail struct {
	Confidence host.Confidence `json:"confidence,omitempty"`
	Location   host.Location   `json:"location"`
	Snippet    string          `json:"snippet,omitempty"`
	Content    string          `json:"content,omitempty"`
	LineHash   string          `json:"line_hash,omitempty"`
	CWE        []int           `json:"cwe,omitempty"`
	Tags       []string        `json:"tags,omitempty"`
	References []string        `json:"references,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
}

// Detail is that column of a finding. It also checks: what a plugin said must
// not break a page of JSON.
func Detail(f host.Finding) string {
	d := detail{Confidence: host.Confidence(Clean(string(f.Confidence))), Location: f.Location, Snippet: Clean(f.Snippet), Content: Clean(f.Content), LineHash: Clean(f.LineHash),
		CWE: f.CWE, Tags: CleanAll(f.Tags), References: CleanAll(f.References)}
	d.Location.Path, d.Location.URL = Clean(f.Location.Path), Clean(f.Location.URL)
	if p := Clean(string(f.Properties)); json.Valid([]byte(p)) {
		d.Properties = json.RawMessage(p)
	}
	return Encode(d)
}

// FindingColumns are those of findings f with their jobs j that Finding takes.
const FindingColumns = `f.id, f.scan_id, f.job_id, j.plugin, f.severity, f.rule_id, f.fingerprint, f.title, f.message, f.detail, f.created_at`

// ObservedColumns follow them with how a finding stands to its project, of its
// observation o and the project's finding k, both of which may be missing. What
// was said of k and has expired is open.
const ObservedColumns = FindingColumns + `, coalesce(o.state, ''), coalesce(cast(o.project_finding_id as text), ''),
	coalesce(k.triage, ''), coalesce(k.reason, ''), k.expires_at`

// Finding is a row of FindingColumns.
type Finding struct {
	finding host.Finding
	rank    int
	detail  *string
	link    bool // ObservedColumns are asked for
	expires time.Time
}

// Observe asks for ObservedColumns.
func (r *Finding) Observe() *Finding {
	r.link = true
	return r
}

// Dest is where to scan the row.
func (r *Finding) Dest(at AtFunc) []any {
	f := &r.finding
	dest := []any{&f.ID, &f.ScanID, &f.JobID, &f.Plugin, &r.rank, &f.RuleID, &f.Fingerprint, &f.Title, &f.Message, &r.detail, at(&f.CreatedAt)}
	if r.link {
		dest = append(dest, &f.Baseline, &f.ProjectFinding, &f.Triage, &f.Reason, at(&r.expires))
	}
	return dest
}

// Value is what was scanned, as it counts now.
func (r *Finding) Value(now time.Time) (host.Finding, error) {
	var d detail
	if err := decode("detail", r.detail, &d); err != nil {
		return host.Finding{}, err
	}
	f := r.finding
	f.Severity = host.Severities()[r.rank]
	d.fill(&f)
	f.Triage = triageNow(f.Triage, r.expires, now)
	return f, nil
}

// triageNow is a triage as it counts: what has expired is open.
func triageNow(t host.Triage, expires, now time.Time) host.Triage {
	if t.Suppresses() && !expires.IsZero() && !expires.After(now) {
		return host.TriageOpen
	}
	return t
}

func (d detail) fill(f *host.Finding) {
	f.Confidence, f.Location, f.Snippet, f.Content, f.CWE = d.Confidence, d.Location, d.Snippet, d.Content, d.CWE
	f.Tags, f.References, f.Properties, f.LineHash = d.Tags, d.References, d.Properties, d.LineHash
}

// Behind is where a page of findings continues; the least place for no cursor.
func Behind(c *host.FindingCursor) (host.FindingCursor, error) {
	if c == nil {
		return host.FindingCursor{Rank: -1, ID: "00000000-0000-0000-0000-000000000000"}, nil
	}
	if !IsID(c.ID) || c.Rank < 0 || c.Rank >= len(host.Severities()) {
		return *c, fmt.Errorf("cursor %d, %.64q: %w", c.Rank, string(c.ID), host.ErrInvalid)
	}
	return *c, nil
}

// Spot is a finding's spot in its columns; nil is null.
type Spot struct{ Key, First, Last *int64 }

// SpotOf is that of f.
func SpotOf(f host.Finding) (s Spot) {
	if at, ok := host.SpotOf(f); ok {
		s = Spot{new(at.Key), new(int64(at.First)), new(int64(at.Last))}
	}
	return s
}

// Others collects who else found what is on a page of findings.
type Others map[host.FindingID][]host.Other

// Fill gives each finding its own, by their ids.
func (o Others) Fill(page []host.Finding) {
	for i, f := range page {
		all := o[f.ID]
		slices.SortFunc(all, func(a, b host.Other) int { return cmp.Compare(a.ID, b.ID) })
		page[i].AlsoFoundBy = all
	}
}
