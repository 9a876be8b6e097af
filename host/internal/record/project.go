package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/securetaghq/securetag/host"
)

// MaxExamined is how many findings a page of a project's looks at.
const MaxExamined = 2000

// ProjectColumns are those of projects p that Project takes.
const ProjectColumns = `p.id, p.tenant_id, p.name, p.created_at, p.fail_on, p.new_only, p.version, p.held, p.last_scan, p.last_at`

// Project is a row of ProjectColumns.
type Project struct {
	project host.Project
	failOn  *int
	last    *string
}

// Dest is where to scan the row.
func (r *Project) Dest(at AtFunc) []any {
	p := &r.project
	return []any{&p.ID, &p.TenantID, &p.Name, at(&p.CreatedAt), &r.failOn, &p.Gate.NewOnly, &p.Version, &p.Findings, &r.last, at(&p.LastAt)}
}

// Value is what was scanned.
func (r *Project) Value() host.Project {
	if r.failOn != nil {
		r.project.Gate.FailOn = host.Severities()[*r.failOn]
	}
	if r.last != nil {
		r.project.LastScan = host.ScanID(*r.last)
	}
	return r.project
}

// FailOn is the column of a gate's severity; nil is null: there is no gate.
func FailOn(g host.Gate) *int {
	if g.FailOn == "" {
		return nil
	}
	return new(g.FailOn.Rank())
}

// ProjectFindingColumns are those of project_findings f with their projects p
// that ProjectFinding takes.
const ProjectFindingColumns = `f.id, f.tenant_id, p.name, f.plugin, f.rule_id, f.fingerprint, f.occurrence, f.state,
	f.first_scan, f.first_seen, f.last_scan, f.last_seen, f.finding_id, f.job_id, f.severity, f.title, f.message, f.detail,
	f.triage, f.reason, f.author, f.expires_at, f.triaged_at, f.version`

// ProjectFinding is a row of ProjectFindingColumns.
type ProjectFinding struct {
	finding host.ProjectFinding
	rank    int
	detail  *string
}

// Dest is where to scan the row.
func (r *ProjectFinding) Dest(at AtFunc) []any {
	p := &r.finding
	f := &p.Finding
	return []any{&p.ID, &p.TenantID, &p.Project, &f.Plugin, &f.RuleID, &f.Fingerprint, &p.Occurrence, &p.State,
		&p.FirstScan, at(&p.FirstSeen), &f.ScanID, at(&p.LastSeen), &f.ID, &f.JobID, &r.rank, &f.Title, &f.Message, &r.detail,
		&p.Triage, &p.Reason, &p.Author, at(&p.ExpiresAt), at(&p.TriagedAt), &p.Version}
}

// Value is what was scanned, as it counts now.
func (r *ProjectFinding) Value(now time.Time) (host.ProjectFinding, error) {
	var d detail
	if err := decode("detail", r.detail, &d); err != nil {
		return host.ProjectFinding{}, err
	}
	p := r.finding
	p.Triage = triageNow(p.Triage, p.ExpiresAt, now)
	p.Finding.Severity = host.Severities()[r.rank]
	p.Finding.CreatedAt, p.Finding.Baseline, p.Finding.ProjectFinding = p.LastSeen, p.State, p.ID
	d.fill(&p.Finding)
	return p, nil
}

const (
	leastID = "00000000-0000-0000-0000-000000000000"
	lastID  = "ffffffff-ffff-ffff-ffff-ffffffffffff"
)

// PageBounds are the places behind and up to which a page's findings are, so that
// one severity is one range of the index. It also refuses what no filter can be.
func PageBounds(q host.ProjectFindingQuery) (after, end host.ProjectFindingCursor, err error) {
	after, end = host.ProjectFindingCursor{Rank: -1, ID: leastID}, host.ProjectFindingCursor{Rank: len(host.Severities()), ID: lastID}
	if len(q.Path) > host.MaxPathPrefix {
		return after, end, fmt.Errorf("a path of more than %d bytes: %w", host.MaxPathPrefix, host.ErrInvalid)
	}
	if q.Severity != "" {
		rank := q.Severity.Rank()
		after, end = host.ProjectFindingCursor{Rank: rank, ID: leastID}, host.ProjectFindingCursor{Rank: rank, ID: lastID}
	}
	if c := q.After; c != nil {
		if !IsID(c.ID) || c.Rank < 0 || c.Rank >= len(host.Severities()) {
			return after, end, fmt.Errorf("cursor %d, %.64q: %w", c.Rank, string(c.ID), host.ErrInvalid)
		}
		if c.Rank >= after.Rank { // one of the same list
			after = *c
		}
	}
	return after, end, nil
}

// Sifts reports whether a page may have to look at more findings than it gives.
func Sifts(q host.ProjectFindingQuery) bool {
	return q.State != "" || q.Triage != "" || q.Plugin != "" || q.Rule != "" || q.Path != ""
}

// NextPage is where a page ends: behind its last item when that filled it, or
// else behind what was looked at when there may be more.
func NextPage(items []host.ProjectFinding, limit, examined int, last host.ProjectFindingCursor) *host.ProjectFindingCursor {
	switch {
	case len(items) == limit:
		end := items[limit-1]
		return &host.ProjectFindingCursor{Rank: end.Finding.Severity.Rank(), ID: end.ID}
	case examined == MaxExamined:
		return &last
	}
	return nil
}

// Reopened is the reason of what is open again because it was seen.
const Reopened = "It was seen again."

// Observed is a finding of a scan as tracking looks at it.
type Observed struct {
	ID                                 host.FindingID
	JobID                              host.JobID
	Plugin, Rule, Fingerprint, Content string
	Rank, Line                         int
	Place                              string
	Digest                             string
}

// ObserveColumns are those of findings f with their jobs j that Observe takes.
const ObserveColumns = `f.id, f.job_id, j.plugin, f.severity, f.rule_id, f.fingerprint, f.title, f.message, f.detail`

// Observe makes one of a row of ObserveColumns.
type Observe struct {
	seen                   Observed
	title, message, detail string
}

// Dest is where to scan the row.
func (r *Observe) Dest() []any {
	o := &r.seen
	return []any{&o.ID, &o.JobID, &o.Plugin, &o.Rank, &o.Rule, &o.Fingerprint, &r.title, &r.message, &r.detail}
}

// Value is what was scanned.
func (r *Observe) Value() (Observed, error) {
	var d detail
	if err := decode("detail", &r.detail, &d); err != nil {
		return Observed{}, err
	}
	o := r.seen
	o.Content, o.Line, o.Place = d.Content, d.Location.StartLine, place(d.Location)
	o.Digest = digest(fmt.Sprint(o.Rank), r.title, r.message)
	return o, nil
}

// place is the beginning of where a finding is, which ends with a whole
// character.
func place(l host.Location) string {
	p := l.Path
	if p == "" {
		p = l.URL
	}
	if len(p) > host.MaxPathPrefix {
		p = p[:host.MaxPathPrefix]
		for !utf8.ValidString(p) {
			p = p[:len(p)-1]
		}
	}
	return p
}

// digest tells lists of texts apart.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(Encode(parts)))
	return hex.EncodeToString(sum[:8])
}

// ScopeOf says what a plugin looked at in a scan, and how: only a job of the same
// scope can say that something is gone.
func ScopeOf(s host.Scan, plugin string) string {
	own, shared := s.OptionsFor(plugin)
	var options any
	if own != nil && json.Unmarshal(own, &options) != nil {
		options = string(own)
	}
	all := map[string]any{}
	for name, raw := range shared {
		var v any
		if json.Unmarshal(raw, &v) != nil {
			v = string(raw)
		}
		all[name] = v
	}
	return digest(s.Type, s.Input.URL, Encode(options), Encode(all)) // objects are written in the order of their keys
}

// TrackingColumns are those of scan_outcomes o that Tracking takes.
const TrackingColumns = `o.scan_id, o.base_scan, o.tracked_at, o.added, o.unchanged, o.updated, o.absent, o.untracked`

// Tracking is a row of TrackingColumns.
type Tracking struct {
	tracking host.Tracking
	base     *string
}

// Dest is where to scan the row.
func (r *Tracking) Dest(at AtFunc) []any {
	t := &r.tracking
	return []any{&t.Scan, &r.base, at(&t.TrackedAt), &t.New, &t.Unchanged, &t.Updated, &t.Absent, &t.Untracked}
}

// Value is what was scanned.
func (r *Tracking) Value() host.Tracking {
	if r.base != nil {
		r.tracking.Base = host.ScanID(*r.base)
	}
	return r.tracking
}

// MaxDiff is how many findings a diff names.
const MaxDiff = 1000

// Comparable names the plugins of which a scan can say that something in the base
// is gone: they saw the whole of the same scope.
func Comparable(scan, base host.Scan) []string {
	names := []string{}
	for _, j := range scan.Jobs {
		if j.State == host.StateSucceeded && ScopeOf(scan, j.Plugin) == ScopeOf(base, j.Plugin) {
			names = append(names, j.Plugin)
		}
	}
	return names
}

// Unique gives each text once, in order.
func Unique(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}
