package host

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Severity orders findings. The zero value counts as unknown.
type Severity string

const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityMedium   Severity = "medium"
	SeverityLow      Severity = "low"
	SeverityInfo     Severity = "info"
	SeverityUnknown  Severity = "unknown"
)

// Severities lists them, worst first.
func Severities() []Severity {
	return []Severity{SeverityCritical, SeverityHigh, SeverityMedium, SeverityLow, SeverityInfo, SeverityUnknown}
}

// ParseSeverity reads one of the names above.
func ParseSeverity(s string) (Severity, error) {
	if v := Severity(s); slices.Contains(Severities(), v) {
		return v, nil
	}
	return "", fmt.Errorf("severity %.32q is none of %v: %w", s, Severities(), ErrInvalid)
}

// Rank is 0 for critical up to 5 for unknown: lower is worse.
func (s Severity) Rank() int {
	if i := slices.Index(Severities(), s); i >= 0 {
		return i
	}
	return len(Severities()) - 1
}

// AtLeast reports whether s is as bad as threshold or worse. Unknown is never
// at least anything but unknown.
func (s Severity) AtLeast(threshold Severity) bool { return s.Rank() <= threshold.Rank() }

// Confidence is how sure the plugin is: high, medium, low or unknown.
type Confidence string

const (
	ConfidenceHigh    Confidence = "high"
	ConfidenceMedium  Confidence = "medium"
	ConfidenceLow     Confidence = "low"
	ConfidenceUnknown Confidence = "unknown"
)

// Finding is one problem at one place, by one rule, as the host keeps it: every
// field from the plugin has been checked, cleaned and cut to its limit.
type Finding struct {
	ID          FindingID
	ScanID      ScanID
	JobID       JobID
	Plugin      string
	RuleID      string
	Title       string // one line
	Message     string // plain text, may have several lines
	Severity    Severity
	Confidence  Confidence
	Location    Location
	Snippet     string // the code or text that shows it; secrets redacted by the plugin
	Fingerprint string // identity across scans, computed by the host: "v1:" + hex
	Content     string // the same without the place; "": none
	LineHash    string // GitHub's primaryLocationLineHash of the line it is in; "" when there is none
	CWE         []int
	Tags        []string
	References  []string        // https URLs
	Properties  json.RawMessage // what else the plugin said, a flat object of strings; nil: none
	CreatedAt   time.Time

	// How it stands to its project, once its scan was tracked, and only where
	// findings are read; "" before, and without a project.
	Baseline       Baseline
	ProjectFinding ProjectFindingID
	Triage         Triage // as it counts now
	Reason         string // for it

	// AlsoFoundBy are findings of other plugins that say the same, at most
	// MaxOthers, by their ids; only where findings are read.
	AlsoFoundBy []Other
}

// Location is a place in a tree (Path) or on the web (URL). Lines and columns
// are 1-based, EndColumn is exclusive as in SARIF; 0 means not given.
type Location struct {
	Path        string `json:"path,omitempty"` // slash-separated, relative to the scanned tree
	StartLine   int    `json:"start_line,omitempty"`
	StartColumn int    `json:"start_column,omitempty"`
	EndLine     int    `json:"end_line,omitempty"`
	EndColumn   int    `json:"end_column,omitempty"`
	URL         string `json:"url,omitempty"`
}
