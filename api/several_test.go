package api_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// twoEngines is a scan of alice's with two jobs, which end as said, in their order.
func twoEngines(t *testing.T, e *env, ends ...host.Outcome) (id string) {
	t.Helper()
	scan := host.Scan{ID: host.NewScanID(), TenantID: e.tenants["alice"], Type: "web", Input: host.Input{URL: "https://example.com/"}}
	for _, p := range []string{"secrets", "probe"} {
		scan.Jobs = append(scan.Jobs, host.Job{ID: host.NewJobID(), Plugin: p, MaxAttempts: 1, Timeout: time.Minute})
	}
	if _, err := e.store.Accept(t.Context(), []host.Scan{scan}, nil); err != nil {
		t.Fatal(err)
	}
	for i, o := range ends {
		o.Lease, o.State = e.claim(t, scan.Jobs[i].ID).Lease, host.StateSucceeded
		if lost, err := e.store.Finish(t.Context(), []host.Outcome{o}); err != nil || len(lost) > 0 {
			t.Fatal(lost, err)
		}
	}
	return string(scan.ID)
}

// TestSeveralEngines: each says what it did, and what it found is told of what the
// other found.
func TestSeveralEngines(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	at := func(rule string, line int) host.Finding {
		return host.Finding{ID: host.NewFindingID(), RuleID: rule, Title: rule, Severity: host.SeverityHigh, Confidence: host.ConfidenceHigh,
			Location: host.Location{Path: "a.go", StartLine: line}, CWE: []int{798}, Fingerprint: "v1:" + rule}
	}
	one, two := at("one", 3), at("two", 3)
	id := twoEngines(t, e, host.Outcome{Findings: []host.Finding{one}},
		host.Outcome{Findings: []host.Finding{two, at("elsewhere", 9)},
			Remarks: host.Remarks{More: 1, Notes: []host.Note{{Level: host.NoteWarning, Text: "is too large", Path: "b.go"}}}})
	c := e.client(t, "alice")
	s, err := c.Scan(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]client.Note{{Level: "warning", Text: "is too large", Path: "b.go"}}, s.Jobs[1].Notes); diff != "" || s.Jobs[1].MoreNotes != 1 || s.NothingScanned {
		t.Errorf("notes (-want +got), %d more, nothing scanned %t:\n%s", s.Jobs[1].MoreNotes, s.NothingScanned, diff)
	}
	also := map[string][]client.Other{}
	for f, err := range c.AllFindings(t.Context(), id, client.FindingsQuery{Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		also[f.RuleID] = f.AlsoFoundBy
	}
	want := map[string][]client.Other{
		"one": {{Plugin: "probe", RuleID: "two", FindingID: string(two.ID)}}, "two": {{Plugin: "secrets", RuleID: "one", FindingID: string(one.ID)}}, "elsewhere": nil,
	}
	if diff := cmp.Diff(want, also); diff != "" {
		t.Errorf("who else found what (-want +got):\n%s", diff)
	}
}

// TestNothingScanned: a scan of which nothing was looked at says so, and passes no
// gate.
func TestNothingScanned(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	idle := host.Outcome{Remarks: host.Remarks{NotApplicable: "no Go files"}}
	s, err := e.client(t, "alice").Scan(t.Context(), twoEngines(t, e, idle, idle))
	if err != nil {
		t.Fatal(err)
	}
	if !s.NothingScanned || s.State != client.StateSucceeded || s.Jobs[0].NotApplicable != "no Go files" || s.Gate != nil && s.Gate.Passed {
		t.Errorf("%+v", s)
	}
	s, err = e.client(t, "alice").Scan(t.Context(), twoEngines(t, e, idle, host.Outcome{}))
	if err != nil || s.NothingScanned {
		t.Errorf("one looked, and nothing was scanned: %t, %v", s.NothingScanned, err)
	}
}
