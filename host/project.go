package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Project is a tenant's named line of scans of the same thing. It is there from
// the end of its first scan, or since somebody made it.
type Project struct {
	ID        ProjectID
	TenantID  TenantID
	Name      string
	CreatedAt time.Time
	Gate      Gate   // what its scans are held to
	Version   int    // of what people set, from 1
	Findings  int    // that it holds, absent ones too
	LastScan  ScanID // the newest that was tracked; "": none
	LastAt    time.Time
}

// Gate is a policy: which findings a scan must not have. The zero value is none.
type Gate struct {
	FailOn  Severity // this one or worse closes the gate; "": there is no gate
	NewOnly bool     // only of findings that were not there before
}

// Check refuses what no request can mean.
func (g Gate) Check() error {
	if g.FailOn == "" {
		if g.NewOnly {
			return fmt.Errorf("a gate for new findings only needs a severity to fail on: %w", ErrInvalid)
		}
		return nil
	}
	_, err := ParseSeverity(string(g.FailOn))
	return err
}

// Baseline is how a finding stands to the scans before. "" for one that was not
// tracked.
type Baseline string

const (
	BaselineNew       Baseline = "new"
	BaselineUnchanged Baseline = "unchanged"
	BaselineUpdated   Baseline = "updated" // the same, and something that is shown has changed
	BaselineAbsent    Baseline = "absent"  // a plugin that saw the whole target did not report it
)

// Baselines lists them.
func Baselines() []Baseline {
	return []Baseline{BaselineNew, BaselineUnchanged, BaselineUpdated, BaselineAbsent}
}

// Triage is what people say of a finding.
type Triage string

const (
	TriageOpen          Triage = "open"
	TriageConfirmed     Triage = "confirmed"
	TriageFalsePositive Triage = "false_positive"
	TriageAcceptedRisk  Triage = "accepted_risk" // with a reason
	TriageFixed         Triage = "fixed"         // until it is seen again
)

// Triages lists them.
func Triages() []Triage {
	return []Triage{TriageOpen, TriageConfirmed, TriageFalsePositive, TriageAcceptedRisk, TriageFixed}
}

// Suppresses reports whether findings of this triage leave the gate, as long as
// it has not expired.
func (t Triage) Suppresses() bool { return t == TriageFalsePositive || t == TriageAcceptedRisk }

// ProjectFinding is one finding of a project, whatever number of scans saw it.
type ProjectFinding struct {
	ID         ProjectFindingID
	TenantID   TenantID
	Project    string
	Finding    Finding // as it was last seen; its scan may be gone
	Occurrence int     // among those of one fingerprint, from 1; it means nothing else
	State      Baseline
	FirstScan  ScanID
	FirstSeen  time.Time // when that scan was accepted
	LastSeen   time.Time // when Finding.ScanID was accepted
	Said                 // last
	TriagedAt  time.Time // zero: never
	Version    int       // of what people said, from 1
}

// Said is what somebody says of a finding.
type Said struct {
	Triage    Triage
	Reason    string
	Author    string    // who says so: a key, by its id
	ExpiresAt time.Time // when it is open again; zero: never
}

// Limits of what people say, in bytes and in number.
const (
	MaxReason     = 2000
	MaxTriage     = 500 // findings at once
	MaxPathPrefix = 400 // bytes of a path that are searched
)

// Check refuses what cannot be said at this time.
func (s Said) Check(now time.Time) error {
	switch {
	case !slices.Contains(Triages(), s.Triage):
		return fmt.Errorf("triage %.32q is none of %v: %w", string(s.Triage), Triages(), ErrInvalid)
	case len(s.Reason) > MaxReason || !utf8.ValidString(s.Reason):
		return fmt.Errorf("the reason is no text of at most %d bytes: %w", MaxReason, ErrInvalid)
	case s.Triage == TriageAcceptedRisk && strings.TrimSpace(s.Reason) == "":
		return fmt.Errorf("a risk that is accepted needs a reason: %w", ErrInvalid)
	case !s.ExpiresAt.IsZero() && !s.Triage.Suppresses():
		return fmt.Errorf("only false_positive and accepted_risk can expire: %w", ErrInvalid)
	case !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now):
		return fmt.Errorf("it would have expired already: %w", ErrInvalid)
	}
	return nil
}

// SaidThen is a line of a finding's history.
type SaidThen struct {
	Said
	At time.Time
}

// AuthorHost is who says what no person does: that a fixed finding is back.
const AuthorHost = "host"

// ProjectFindingQuery narrows a project's findings. The zero value is all.
// Limit 0 means 100, at most 1000.
type ProjectFindingQuery struct {
	State    Baseline
	Severity Severity
	Triage   Triage // as it counts: what has expired is open
	Plugin   string
	Rule     string
	Path     string // its beginning, at most MaxPathPrefix bytes
	After    *ProjectFindingCursor
	Limit    int
}

// ProjectFindingCursor is where a page ended.
type ProjectFindingCursor struct {
	Rank int
	ID   ProjectFindingID
}

// ProjectFindingPage is a part of a list. It looks at a bounded number of
// findings, so it may have fewer than asked for, or none, and still not be the
// last.
type ProjectFindingPage struct {
	Items []ProjectFinding
	Next  *ProjectFindingCursor // nil: this is the last
}

// Tracking is what tracking a scan came to.
type Tracking struct {
	Scan                            ScanID
	Base                            ScanID // the project's newest before it; "": it was the first
	TrackedAt                       time.Time
	New, Unchanged, Updated, Absent int
	Untracked                       int // not kept: the project is full
}

// GateFacts is what a gate is judged by.
type GateFacts struct {
	Tracking *Tracking // nil: not tracked yet, or the scan has no project
	Project  Gate      // the project's; zero: none
	// Against are the findings of the scan that count, by severity: all of them
	// or new ones, without those that people waived.
	Against Counts
}

// Diff is what changed from one scan to another, by project finding.
type Diff struct {
	Base, Scan                      ScanID
	New, Unchanged, Updated, Absent int
	Items                           []DiffItem // new ones and absent ones first seen, worst first, at most 1000
}

// DiffItem is a finding that is in one of the scans only.
type DiffItem struct {
	State   Baseline // new or absent
	Finding ProjectFinding
}

// ProjectStore keeps what outlives scans: projects and their findings. Every
// method that takes a tenant sees nothing of any other.
type ProjectStore interface {
	// Projects lists a tenant's by name, those behind a name, at most limit.
	Projects(ctx context.Context, t TenantID, after string, limit int) ([]Project, error)
	// Project returns ErrNotFound when the tenant has none such.
	Project(ctx context.Context, t TenantID, name string) (Project, error)
	// SetProject changes a project's gate, when its version is that, or makes the
	// project when version is 0: ErrStale, ErrConflict when it is there,
	// ErrNotFound when it is not, ErrInvalid for a gate that means nothing.
	SetProject(ctx context.Context, t TenantID, name string, version int, g Gate) (Project, error)
	// Track takes one scan of a project that has ended and was not tracked since,
	// and finds out which findings are which (package identity). It holds the
	// project until it is done, so that any number of hosts may do this side by
	// side. most is how many findings a project may hold. nil: there was none,
	// or others are at all of them.
	Track(ctx context.Context, most int) (*Tracking, error)
	// ProjectFindings lists by (severity rank, id). ErrNotFound when the tenant
	// has no such project.
	ProjectFindings(ctx context.Context, t TenantID, project string, q ProjectFindingQuery) (ProjectFindingPage, error)
	// ProjectFinding returns one with what was said of it, the oldest first.
	ProjectFinding(ctx context.Context, t TenantID, id ProjectFindingID) (ProjectFinding, []SaidThen, error)
	// Triage notes what is said of a finding whose version is that; 0 is any.
	// ErrStale when it is another, ErrInvalid for what Said.Check refuses.
	Triage(ctx context.Context, t TenantID, id ProjectFindingID, version int, s Said) (ProjectFinding, error)
	// TriageMany is Triage of any version for those of the ids that are of the
	// project, at most MaxTriage, all of them in one transaction. It returns how
	// many there were.
	TriageMany(ctx context.Context, t TenantID, project string, ids []ProjectFindingID, s Said) (int, error)
	// GateFacts is what a scan's gate is judged by: s.Gate's, or else its
	// project's.
	GateFacts(ctx context.Context, s Scan) (GateFacts, error)
	// Diff compares two scans of one project that were tracked. base "" is the
	// one that scan was tracked against. ErrNotFound when there is no such scan,
	// ErrConflict when one is not tracked, or has nothing to compare with, not even
	// any more, or is of another project.
	Diff(ctx context.Context, t TenantID, scan, base ScanID) (Diff, error)
}
