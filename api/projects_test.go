package api_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// secret is a finding as a plugin reports it.
func secret(text string, line int, severity host.Severity) host.Finding {
	return host.Finding{ID: host.NewFindingID(), Plugin: "secrets", RuleID: "key", Title: "A key", Severity: severity, Confidence: host.ConfidenceHigh,
		Location: host.Location{Path: "a/b.go", StartLine: line}, Fingerprint: "v1:" + text, Content: "v1:c" + text}
}

// shop scans project shop once, and compares it with the scans before.
func (e *env) shop(t *testing.T, opts client.UploadOptions, findings ...host.Finding) client.Scan {
	t.Helper()
	opts.Project = "shop"
	scan := e.upload(t, opts)
	e.finish(t, scan.ID, findings)
	if got, err := e.store.Track(t.Context(), 1000); err != nil || got == nil {
		t.Fatalf("tracked %+v, %v", got, err)
	}
	scan, err := e.client(t, "alice").Scan(t.Context(), scan.ID)
	if err != nil {
		t.Fatal(err)
	}
	return scan
}

// TestProjectLife is what a client sees of findings that live: 50 lines on top
// change nothing, one secret goes and another comes, people say what they are.
func TestProjectLife(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	c := e.client(t, "alice")
	first := e.shop(t, client.UploadOptions{}, secret("x", 1, host.SeverityHigh), secret("y", 2, host.SeverityLow))
	if b := first.Baseline; b == nil || b.New != 2 || b.BaseScanID != "" || first.Gate != nil {
		t.Errorf("the first scan: baseline %+v, gate %+v", b, first.Gate)
	}
	second := e.shop(t, client.UploadOptions{}, secret("x", 51, host.SeverityHigh), secret("y", 52, host.SeverityLow))
	if diff := cmp.Diff(&client.Baseline{BaseScanID: first.ID, Unchanged: 2}, second.Baseline); diff != "" {
		t.Errorf("50 lines on top (-want +got):\n%s", diff)
	}
	third := e.shop(t, client.UploadOptions{}, secret("x", 51, host.SeverityHigh), secret("z", 60, host.SeverityCritical))
	d, err := c.Diff(t.Context(), third.ID, "")
	if err != nil || d.BaseScanID != second.ID || d.New != 1 || d.Absent != 1 || d.Unchanged != 1 || len(d.Items) != 2 ||
		d.Items[0].State != "new" || d.Items[0].Finding.Finding.Severity != "critical" || d.Items[1].State != "absent" {
		t.Errorf("diff %+v, %v", d, err)
	}
	if d, err = c.Diff(t.Context(), second.ID, first.ID); err != nil || d.New != 0 || d.Absent != 0 || d.Unchanged != 2 {
		t.Errorf("diff of the second %+v, %v", d, err)
	}
	var got []string
	for f, err := range c.AllProjectFindings(t.Context(), "shop", client.ProjectFindingsQuery{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Finding.Severity+" "+f.State)
	}
	if diff := cmp.Diff([]string{"critical new", "high unchanged", "low absent"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	page, err := c.Findings(t.Context(), third.ID, client.FindingsQuery{})
	if err != nil || page.Items[0].State != "new" || page.Items[1].State != "unchanged" {
		t.Fatalf("findings of the scan %+v, %v", page, err)
	}
	id := page.Items[0].ProjectFindingID
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	f, err := c.Triage(t.Context(), id, 1, client.Triage{Triage: "accepted_risk", Reason: "a test key", ExpiresAt: &soon})
	if err != nil || f.Triage != "accepted_risk" || f.Version != 2 || f.Author == "" || !f.ExpiresAt.Equal(soon) || len(f.History) != 1 || f.History[0].Reason != "a test key" {
		t.Errorf("triaged %+v, %v", f, err)
	}
	var report bytes.Buffer
	if err := c.Report(t.Context(), third.ID, "sarif", &report); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{`"baselineState":"new"`: 1, `"baselineState":"unchanged"`: 1, `"suppressions":[]`: 1,
		`"suppressions":[{"justification":"a test key","kind":"external","status":"accepted"}]`: 1} {
		if got := strings.Count(report.String(), text); got != want {
			t.Errorf("the report has %s %d times, want %d\n%s", text, got, want, report.String())
		}
	}
	n, err := c.TriageMany(t.Context(), "shop", client.TriageMany{IDs: []string{id, first.ID}, Triage: client.Triage{Triage: "confirmed"}})
	if err != nil || n != 1 {
		t.Errorf("triaged %d of many, %v", n, err)
	}
	if f, err = c.ProjectFinding(t.Context(), id); err != nil || f.Triage != "confirmed" || f.Version != 3 || len(f.History) != 2 {
		t.Errorf("in the end %+v, %v", f, err)
	}
	projects, err := c.Projects(t.Context(), 0, "")
	if err != nil || len(projects.Items) != 1 || projects.Items[0].Findings != 3 || projects.Items[0].LastScanID != third.ID {
		t.Errorf("projects %+v, %v", projects, err)
	}
	for f, err := range c.AllProjectFindings(t.Context(), "none", client.ProjectFindingsQuery{}) {
		if status(err) != http.StatusNotFound {
			t.Errorf("of a project that is not there: %+v, %v", f, err)
		}
	}
}

// TestGate: who says what a scan is held to, and what opens and closes it.
func TestGate(t *testing.T) {
	t.Parallel()
	woken := make(chan struct{}, 10)
	e := newEnvMax(t, api.Config{}, maxArchive, func(d *api.Deps) { d.Untracked = func() { woken <- struct{}{} } })
	c := e.client(t, "alice")
	high := client.GatePolicy{FailOn: "high"}
	p, err := c.CreateProject(t.Context(), "shop", high)
	if err != nil || p.Gate != high || p.Version != 1 {
		t.Fatalf("made %+v, %v", p, err)
	}
	if _, err := c.CreateProject(t.Context(), "shop", high); status(err) != http.StatusConflict {
		t.Errorf("made twice: %v", err)
	}
	want := func(s client.Scan, state string, reason string) {
		t.Helper()
		if s.Gate == nil || s.Gate.State != state || s.Gate.Passed != (state == "passed") || !strings.Contains(strings.Join(s.Gate.Reasons, "; "), reason) {
			t.Errorf("the gate is %+v, want it %s because of %q", s.Gate, state, reason)
		}
	}
	want(e.shop(t, client.UploadOptions{}, secret("x", 1, host.SeverityHigh)), "failed", "1 findings of severity high")
	newOnly := &client.GatePolicy{FailOn: "high", NewOnly: true}
	want(e.shop(t, client.UploadOptions{Gate: newOnly}, secret("x", 1, host.SeverityHigh)), "passed", "")
	if p, err = c.SetProject(t.Context(), "shop", 1, *newOnly); err != nil || p.Version != 2 {
		t.Errorf("changed %+v, %v", p, err)
	}
	if _, err := c.SetProject(t.Context(), "shop", 1, high); status(err) != http.StatusPreconditionFailed {
		t.Errorf("changed from an old version: %v", err)
	}
	scan := e.shop(t, client.UploadOptions{}, secret("x", 1, host.SeverityHigh), secret("y", 2, host.SeverityCritical))
	want(scan, "failed", "1 new findings of severity critical")
	page, err := c.Findings(t.Context(), scan.ID, client.FindingsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Triage(t.Context(), page.Items[0].ProjectFindingID, 0, client.Triage{Triage: "false_positive"}); err != nil {
		t.Error(err)
	}
	if scan, err = c.Scan(t.Context(), scan.ID); err != nil {
		t.Fatal(err)
	}
	want(scan, "passed", "")

	waits := e.upload(t, client.UploadOptions{Project: "shop", Gate: &high})
	if waits, err = c.Scan(t.Context(), waits.ID); err != nil {
		t.Fatal(err)
	}
	want(waits, "pending", "")
	if len(woken) != 0 {
		t.Error("a scan that runs wakes the tracker")
	}
	e.finish(t, waits.ID, nil)
	resp, _ := e.do(t, "alice", http.MethodGet, "/scans/"+waits.ID, "", nil)
	if <-woken; resp.Header.Get("Retry-After") == "" {
		t.Error("a scan that was not compared yet has no Retry-After")
	}
	// Whoever waited with the request itself is told the same, and so is who cancels.
	ended := e.upload(t, client.UploadOptions{Project: "shop", Gate: &high})
	if ended, err = c.Cancel(t.Context(), ended.ID); err != nil || ended.State != client.StateCanceled {
		t.Fatalf("canceled %+v, %v", ended, err)
	}
	<-woken
	want(ended, "pending", "")
	failed := e.upload(t, client.UploadOptions{Project: "shop"})
	job := host.JobID(failed.Jobs[0].ID)
	if _, err := e.store.Finish(t.Context(), []host.Outcome{{Lease: e.claim(t, job).Lease, State: host.StateFailed, Error: &host.JobError{Code: host.CodePluginFailed, Message: "m", Attempt: 1}}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := e.store.Track(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if failed, err = c.Scan(t.Context(), failed.ID); err != nil {
		t.Fatal(err)
	}
	want(failed, "failed", "the job of plugin secrets is failed")
	lines, err := e.store.Audit(t.Context(), host.AuditQuery{Actor: host.ActorKey, Limit: 10})
	var said []string
	for _, l := range lines {
		said = append(said, l.Action+": "+l.Target)
	}
	if diff := cmp.Diff([]string{"set-project: project shop, gate high, new only", "create-project: project shop, gate high"}, said); err != nil || diff != "" {
		t.Errorf("the audit log, %v (-want +got):\n%s", err, diff)
	}
	alone := e.upload(t, client.UploadOptions{Gate: &high})
	want(alone, "pending", "")
	e.finish(t, alone.ID, []host.Finding{secret("x", 1, host.SeverityHigh)})
	if alone, err = c.Scan(t.Context(), alone.ID); err != nil {
		t.Fatal(err)
	}
	want(alone, "failed", "1 findings of severity high")
}

// TestGatePending: a scan that goes on says what it is held to, be it by its
// request or by its project.
func TestGatePending(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	c := e.client(t, "alice")
	header := map[string]string{"Content-Type": "application/json"}
	resp, body := e.ask(t, http.MethodPost, "/projects", header, `{"name":"shop","gate":{"fail_on":"high","new_only":true}}`)
	if resp.StatusCode != http.StatusCreated || resp.Header.Get("Location") != "/projects/shop" || resp.Header.Get("ETag") != `"1"` {
		t.Fatalf("made %d %v: %s", resp.StatusCode, resp.Header, body)
	}
	for name, c := range map[string]struct {
		opts client.UploadOptions
		want *client.Gate
	}{
		"the project's": {client.UploadOptions{Project: "shop"}, &client.Gate{GatePolicy: client.GatePolicy{FailOn: "high", NewOnly: true}, State: "pending"}},
		"the request's": {client.UploadOptions{Project: "shop", Gate: &client.GatePolicy{FailOn: "low"}}, &client.Gate{GatePolicy: client.GatePolicy{FailOn: "low"}, State: "pending"}},
		"no project":    {client.UploadOptions{Gate: &client.GatePolicy{FailOn: "low"}}, &client.Gate{GatePolicy: client.GatePolicy{FailOn: "low"}, State: "pending"}},
		"none at all":   {client.UploadOptions{Project: "shop", Gate: &client.GatePolicy{}}, nil},
		"no such gate":  {client.UploadOptions{Project: "other"}, nil},
	} {
		scan := e.upload(t, c.opts)
		if diff := cmp.Diff(c.want, scan.Gate); diff != "" {
			t.Errorf("%s, when it was accepted (-want +got):\n%s", name, diff)
		}
		got, err := e.client(t, "alice").Scan(t.Context(), scan.ID)
		if diff := cmp.Diff(c.want, got.Gate); diff != "" || err != nil || got.Baseline != nil {
			t.Errorf("%s: %v, %v (-want +got):\n%s", name, err, got.Baseline, diff)
		}
	}
	if _, err := c.Project(t.Context(), "other"); status(err) != http.StatusNotFound {
		t.Errorf("a project that no scan ended in: %v", err)
	}
}

func TestProjectsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.shop(t, client.UploadOptions{}, secret("x", 1, host.SeverityHigh))
	page, err := e.client(t, "alice").Findings(t.Context(), scan.ID, client.FindingsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	finding := "/findings/" + page.Items[0].ProjectFindingID
	for name, c := range map[string]struct {
		who, method, path, match, body string
		status                         int
	}{
		"triage without If-Match":  {"alice", "PATCH", finding, "", `{"triage":"fixed"}`, 428},
		"triage of an old version": {"alice", "PATCH", finding, `"7"`, `{"triage":"fixed"}`, 412},
		"triage of a weak version": {"alice", "PATCH", finding, `W/"1"`, `{"triage":"fixed"}`, 412},
		"triage without a body":    {"alice", "PATCH", finding, `"1"`, ``, 400},
		"no such triage":           {"alice", "PATCH", finding, `"1"`, `{"triage":"gone"}`, 422},
		"risk without a reason":    {"alice", "PATCH", finding, `"1"`, `{"triage":"accepted_risk"}`, 422},
		"expired":                  {"alice", "PATCH", finding, `"1"`, `{"triage":"false_positive","expires_at":"2020-01-01T00:00:00Z"}`, 422},
		"another's":                {"bob", "PATCH", finding, `"1"`, `{"triage":"fixed"}`, 404},
		"policy without If-Match":  {"alice", "PATCH", "/projects/shop", "", `{"gate":{}}`, 428},
		"policy of old":            {"alice", "PATCH", "/projects/shop", `"9"`, `{"gate":{}}`, 412},
		"policy that means none":   {"alice", "PATCH", "/projects/shop", `*`, `{"gate":{"new_only":true}}`, 422},
		"no such project":          {"alice", "PATCH", "/projects/none", `*`, `{"gate":{}}`, 404},
		"another's project":        {"bob", "GET", "/projects/shop", "", ``, 404},
		"another's findings":       {"bob", "GET", "/projects/shop/findings", "", ``, 404},
		"another's bulk":           {"bob", "POST", "/projects/shop/findings/triage", "", `{"ids":["x"],"triage":"fixed"}`, 404},
		"bulk of none":             {"alice", "POST", "/projects/shop/findings/triage", "", `{"ids":[],"triage":"fixed"}`, 422},
		"long path":                {"alice", "GET", "/projects/shop/findings?path=" + strings.Repeat("%C3%A9", 300), "", ``, 422},
		"token of another list":    {"alice", "GET", "/projects/shop/findings?page_token=abc", "", ``, 422},
		"the first has no base":    {"alice", "GET", "/scans/" + scan.ID + "/diff", "", ``, 409},
		"no such base":             {"alice", "GET", "/scans/" + scan.ID + "/diff?base=" + string(host.NewScanID()), "", ``, 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, e.url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", e.keys[c.who])
		if c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if c.match != "" {
			req.Header.Set("If-Match", c.match)
		}
		resp, body := e.send(t, req)
		if p := problem(t, resp, body); p.Status != c.status {
			t.Errorf("%s: %+v, want %d", name, p, c.status)
		}
	}
	for name, gate := range map[string]*client.GatePolicy{"unknown severity": {FailOn: "worst"}, "nothing to fail on": {NewOnly: true}} {
		_, err := e.client(t, "alice").Upload(t.Context(), strings.NewReader("PK"), client.UploadOptions{Gate: gate})
		var p *client.Error
		if !errors.As(err, &p) || p.StatusCode != http.StatusUnprocessableEntity || p.Errors[0].Pointer != "form.gate" {
			t.Errorf("%s: %v, want 422 at form.gate", name, err)
		}
	}
	if n := e.stored(t); n != 1 {
		t.Errorf("%d blobs are stored, want that of the one scan", n)
	}
}
