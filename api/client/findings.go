package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Project is a line of scans of the same thing, whose findings keep their
// identity.
type Project struct {
	Name      string     `json:"name" example:"shop"`
	Gate      GatePolicy `json:"gate" doc:"What its scans are held to, unless a request says otherwise."`
	Version   int        `json:"version" doc:"Of the gate; the ETag."`
	Findings  int        `json:"findings" doc:"Findings that it holds, absent ones too."`
	CreatedAt time.Time  `json:"created_at"`
	// LastScanID is the newest scan that was compared.
	LastScanID string     `json:"last_scan_id,omitempty" format:"uuid" doc:"The newest scan whose findings were compared with those before."`
	LastScanAt *time.Time `json:"last_scan_at,omitempty" doc:"When that was accepted."`
}

// GatePolicy says which findings a scan must not have.
type GatePolicy struct {
	FailOn  string `json:"fail_on,omitempty" enum:"critical,high,medium,low,info,unknown" doc:"Findings of this severity or worse close the gate; left out: there is no gate."`
	NewOnly bool   `json:"new_only,omitempty" doc:"Only findings that were not there before."`
}

// Gate is a gate and what it says of a scan.
type Gate struct {
	GatePolicy
	State   string   `json:"state" enum:"pending,passed,failed" doc:"pending until the scan has ended and its findings were compared with those before, which takes a moment more."`
	Passed  bool     `json:"passed" doc:"Never before the end."`
	Reasons []string `json:"reasons,omitempty" doc:"Why it did not pass. A job that did not succeed is one, whatever was found."`
}

// Baseline is how a scan's findings stand to the scan before.
type Baseline struct {
	BaseScanID string `json:"base_scan_id,omitempty" format:"uuid" doc:"The project's newest scan before it; left out: it was the first."`
	New        int    `json:"new"`
	Unchanged  int    `json:"unchanged"`
	Updated    int    `json:"updated" doc:"The same, and something that is shown has changed."`
	Absent     int    `json:"absent" doc:"Were there, and a plugin that saw the whole of the same target did not report them."`
	Untracked  int    `json:"untracked,omitempty" doc:"Not kept, because the project holds as many as it may."`
}

// ProjectFinding is one finding of a project, whatever number of scans saw it.
type ProjectFinding struct {
	ID         string    `json:"id" format:"uuid"`
	Project    string    `json:"project"`
	State      string    `json:"state" enum:"new,unchanged,updated,absent" doc:"How the newest scan found it."`
	Finding    Finding   `json:"finding" doc:"As it was last seen. Its scan may be gone."`
	Occurrence int       `json:"occurrence" doc:"Tells it from others with the same fingerprint, and means nothing else."`
	FirstScan  string    `json:"first_scan_id" format:"uuid"`
	FirstSeen  time.Time `json:"first_seen_at"`
	LastSeen   time.Time `json:"last_seen_at"`
	Version    int       `json:"version" doc:"Of what people said of it; the ETag."`
	Said
	TriagedAt *time.Time `json:"triaged_at,omitempty" doc:"When that was said; left out: never."`
	History   []SaidThen `json:"history,omitempty" doc:"What was said of it, the oldest first, at most the last 500. Left out in lists."`
}

// Said is what somebody says of a finding.
type Said struct {
	Triage    string     `json:"triage" enum:"open,confirmed,false_positive,accepted_risk,fixed" doc:"open again once it has expired, or a fixed one is seen."`
	Reason    string     `json:"reason,omitempty"`
	Author    string     `json:"author,omitempty" doc:"The key that said so, by its id, or host."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Until when a false positive or an accepted risk stays out of the gate; left out: for good."`
}

// SaidThen is a line of a finding's history.
type SaidThen struct {
	Said
	At time.Time `json:"at"`
}

// Triage is what to say of a finding.
type Triage struct {
	Triage    string     `json:"triage" enum:"open,confirmed,false_positive,accepted_risk,fixed"`
	Reason    string     `json:"reason,omitempty" maxLength:"2000" doc:"Needed for an accepted risk."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"For false_positive and accepted_risk: when it is open again; left out: never."`
}

// TriageMany says the same of several findings of a project.
type TriageMany struct {
	IDs []string `json:"ids" minItems:"1" maxItems:"500"`
	Triage
}

// Triaged is how many of them there were.
type Triaged struct {
	Triaged int `json:"triaged" doc:"How many of the findings there were."`
}

// Diff is what changed from one scan to another.
type Diff struct {
	BaseScanID string     `json:"base_scan_id" format:"uuid"`
	ScanID     string     `json:"scan_id" format:"uuid"`
	New        int        `json:"new"`
	Unchanged  int        `json:"unchanged"`
	Updated    int        `json:"updated"`
	Absent     int        `json:"absent"`
	Items      []DiffItem `json:"items" doc:"New and absent ones, worst first, at most 1,000."`
}

// DiffItem is a finding that is in one of the scans only.
type DiffItem struct {
	State   string         `json:"state" enum:"new,absent"`
	Finding ProjectFinding `json:"finding"`
}

// Projects gives one page, by name.
func (c *Client) Projects(ctx context.Context, pageLimit int, pageToken string) (Page[Project], error) {
	var p Page[Project]
	_, err := c.get(ctx, "/projects", values("limit", limit(pageLimit), "page_token", pageToken), &p)
	return p, err
}

// AllProjects goes through all pages. It ends after the first error.
func (c *Client) AllProjects(ctx context.Context) iter.Seq2[Project, error] {
	return all(func(token string) (Page[Project], error) { return c.Projects(ctx, 0, token) })
}

// Project gives a project.
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	var p Project
	_, err := c.get(ctx, projectPath(name), nil, &p)
	return p, err
}

// CreateProject makes a project before its first scan does.
func (c *Client) CreateProject(ctx context.Context, name string, gate GatePolicy) (Project, error) {
	in := struct {
		Name string     `json:"name"`
		Gate GatePolicy `json:"gate"`
	}{name, gate}
	var p Project
	err := c.postJSON(ctx, "/projects", in, &p)
	return p, err
}

// SetProject changes a project's gate. version is that of the project on which
// the change is based; another one is an *Error with status 412.
func (c *Client) SetProject(ctx context.Context, name string, version int, gate GatePolicy) (Project, error) {
	in := struct {
		Gate GatePolicy `json:"gate"`
	}{gate}
	var p Project
	err := c.patch(ctx, projectPath(name), version, in, &p)
	return p, err
}

// ProjectFindingsQuery narrows a project's findings. The zero value is all.
type ProjectFindingsQuery struct {
	State, Severity, Triage string
	Plugin, Rule            string
	Path                    string // its beginning
	Limit                   int    // findings a page; 0: as the host likes
	PageToken               string // NextPageToken of the page before, with the same filters
}

// ProjectFindings gives one page, worst first. With filters that fit few, a page
// may be short, or empty, and not be the last.
func (c *Client) ProjectFindings(ctx context.Context, project string, q ProjectFindingsQuery) (Page[ProjectFinding], error) {
	var p Page[ProjectFinding]
	_, err := c.get(ctx, projectPath(project)+"/findings", values("state", q.State, "severity", q.Severity, "triage", q.Triage,
		"plugin", q.Plugin, "rule", q.Rule, "path", q.Path, "limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}

// AllProjectFindings goes through all pages from q on. It ends after the first
// error.
func (c *Client) AllProjectFindings(ctx context.Context, project string, q ProjectFindingsQuery) iter.Seq2[ProjectFinding, error] {
	return all(func(token string) (Page[ProjectFinding], error) {
		if token != "" {
			q.PageToken = token
		}
		return c.ProjectFindings(ctx, project, q)
	})
}

// ProjectFinding gives a finding with what was said of it.
func (c *Client) ProjectFinding(ctx context.Context, id string) (ProjectFinding, error) {
	var f ProjectFinding
	_, err := c.get(ctx, "/findings/"+url.PathEscape(id), nil, &f)
	return f, err
}

// Triage says something of a finding. version is that of the finding on which it
// is based, 0 for any; another one is an *Error with status 412.
func (c *Client) Triage(ctx context.Context, id string, version int, t Triage) (ProjectFinding, error) {
	var f ProjectFinding
	err := c.patch(ctx, "/findings/"+url.PathEscape(id), version, t, &f)
	return f, err
}

// TriageMany says the same of several findings of a project, and returns how
// many of them there were.
func (c *Client) TriageMany(ctx context.Context, project string, t TriageMany) (int, error) {
	var out Triaged
	err := c.postJSON(ctx, projectPath(project)+"/findings/triage", t, &out)
	return out.Triaged, err
}

// Diff compares a scan with another of its project; base "" is the one before.
func (c *Client) Diff(ctx context.Context, scan, base string) (Diff, error) {
	var d Diff
	_, err := c.get(ctx, scanPath(scan)+"/diff", values("base", base), &d)
	return d, err
}

func projectPath(name string) string { return "/projects/" + url.PathEscape(name) }

// patch sends a change that is based on a version, 0 for any.
func (c *Client) patch(ctx context.Context, path string, version int, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	match := "*"
	if version != 0 {
		match = `"` + strconv.Itoa(version) + `"`
	}
	_, err = c.send(ctx, request{method: http.MethodPatch, path: path, contentType: "application/json",
		body: bytes.NewReader(raw), size: int64(len(raw)), ifMatch: match}, out)
	return err
}
