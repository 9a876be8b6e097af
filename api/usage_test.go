package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func archiveOf(n int) part { return part{"file", "a.zip", "PK" + strings.Repeat("x", n-2)} }

// put uploads an archive of n bytes.
func (e *env) put(t *testing.T, key string, n int) (*http.Response, string) {
	t.Helper()
	contentType, body := encode(t, archiveOf(n))
	resp, text := e.do(t, key, http.MethodPost, "/codeaudit/upload", contentType, bytes.NewReader(body))
	return resp, text
}

func TestUsage(t *testing.T) {
	t.Parallel()
	plan := host.Plan{
		Name: "free", Quota: host.Quota{Storage: 1000, ScansPerDay: 3}, RequestRate: host.Rate{Count: 100, Per: time.Minute},
		ArchiveSize: 900, Findings: 7, Retention: 90*time.Minute + time.Millisecond,
	}
	e := newEnvPlan(t, api.Config{}, maxArchive, plan)
	if resp, text := e.put(t, "alice", 400); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	got, err := e.client(t, "alice").Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if resets := got.Quotas[1].ResetsAt; resets == nil || resets.Sub(resets.Truncate(24*time.Hour)) != 0 {
		t.Errorf("the day ends at %v", resets)
	}
	got.Quotas[1].ResetsAt = nil
	want := client.Usage{
		Plan: "free",
		Quotas: []client.Quota{
			{Name: "storage_quota", Unit: "bytes", Used: 400, Limit: new(int64(1000))},
			{Name: "scans_per_day", Unit: "scans", Used: 1, Limit: new(int64(3))},
			{Name: "queued_scans", Unit: "scans", Used: 1},
		},
		Limits: client.PlanLimits{
			RequestRate: &client.Rate{Requests: 100, Seconds: 60}, ArchiveSize: 900, Findings: 7, RetentionSeconds: 5401,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := e.client(t, "bob").Usage(t.Context()); err != nil || got.Quotas[0].Used != 0 {
		t.Errorf("another tenant: %+v, %v", got, err)
	}
}

// quotaProblem reads a refusal.
func quotaProblem(t *testing.T, resp *http.Response, text string) client.Problem {
	t.Helper()
	var p client.Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	if resp.StatusCode != http.StatusForbidden || p.Code != "quota_exceeded" || p.Used == nil || p.Limit == nil || p.Needed == nil {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	return p
}

func TestOverQuota(t *testing.T) {
	t.Parallel()
	e := newEnvPlan(t, api.Config{}, maxArchive, host.Plan{Quota: host.Quota{Storage: 300_000, ScansPerDay: 3}})
	if resp, text := e.put(t, "alice", 200_000); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s", resp.StatusCode, text)
	}

	// Too large by what the request says of itself: the answer waits for no byte.
	withheld := make(silent)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+"/codeaudit/upload", withheld)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 600_000
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	req.Header.Set("X-Api-Key", e.keys["alice"])
	resp, err := e.http.Do(req)
	close(withheld)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	p := quotaProblem(t, resp, string(text))
	if p.Quota != "storage_quota" || *p.Used != 200_000 || *p.Limit != 300_000 || *p.Needed < 300_000 || p.ResetsAt != nil {
		t.Errorf("by its length: %s", text)
	}

	// By one byte, which shows while it is read.
	resp, text2 := e.put(t, "alice", 100_001)
	if p := quotaProblem(t, resp, text2); p.Quota != "storage_quota" || *p.Used != 200_000 || *p.Needed != 100_001 {
		t.Errorf("by a byte: %s", text2)
	}
	if n := e.stored(t); n != 1 {
		t.Errorf("%d blobs are stored, want the one that was accepted", n)
	}
	if resp, text := e.put(t, "alice", 100_000); resp.StatusCode != http.StatusAccepted {
		t.Errorf("what fits exactly: %d: %s", resp.StatusCode, text)
	}
	if resp, text := e.put(t, "bob", 300_000); resp.StatusCode != http.StatusAccepted {
		t.Errorf("another tenant: %d: %s", resp.StatusCode, text)
	}

	// A URL takes no storage, and counts for the day.
	start := func() (*http.Response, string) {
		resp, text := e.do(t, "alice", http.MethodPost, "/scans/dast", "application/json", strings.NewReader(`{"url":"https://example.com/"}`))
		return resp, text
	}
	if resp, text := start(); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a URL: %d: %s", resp.StatusCode, text)
	}
	resp, text3 := start()
	if p := quotaProblem(t, resp, text3); p.Quota != "scans_per_day" || *p.Used != 3 || *p.Needed != 1 || p.ResetsAt == nil || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the fourth of the day: %s", text3)
	}
}

// silent is a body of which nothing comes until it is closed.
type silent chan struct{}

func (s silent) Read([]byte) (int, error) { <-s; return 0, io.EOF }

// TestPlanOfScan: the plan bounds the archive and gives the priority.
func TestPlanOfScan(t *testing.T) {
	t.Parallel()
	e := newEnvPlan(t, api.Config{}, maxArchive, host.Plan{ArchiveSize: 1000, Priority: host.PriorityLow})
	resp, text := e.put(t, "alice", 1001)
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, "1000 bytes") {
		t.Errorf("over the plan's size: %d: %s", resp.StatusCode, text)
	}
	resp, text = e.put(t, "alice", 1000)
	var s client.Scan
	if err := json.Unmarshal([]byte(text), &s); err != nil || resp.StatusCode != http.StatusAccepted || s.Priority != client.PriorityLow {
		t.Errorf("within it: %d: %s", resp.StatusCode, text)
	}
}
