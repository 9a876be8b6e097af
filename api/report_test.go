package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

func TestReports(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{Project: "shop"})
	alice, bob := e.client(t, "alice"), e.client(t, "bob")
	var findings []host.Finding
	for i := range 1001 { // more than two pages
		findings = append(findings, host.Finding{
			ID: host.NewFindingID(), Plugin: "secrets", RuleID: fmt.Sprint("rule-", i%7), Title: "A finding", Severity: host.SeverityHigh,
			Fingerprint: fmt.Sprint("v1:", i), Location: host.Location{Path: "a.go", StartLine: i + 1},
		})
	}

	// A scan that waits is not clean in any document.
	var early bytes.Buffer
	if err := alice.Report(t.Context(), scan.ID, "html", &early); err != nil || !strings.Contains(early.String(), "This is not a clean result") {
		t.Errorf("a report of a scan that waits: %v\n%s", err, early.String())
	}
	e.finish(t, scan.ID, findings)

	for _, f := range export.Formats() {
		var doc bytes.Buffer
		if err := alice.Report(t.Context(), scan.ID, string(f), &doc); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		got := map[export.Format]int{
			export.CSV: strings.Count(doc.String(), "\n") - 1, export.JSONLines: strings.Count(doc.String(), "\n") - 1,
			export.HTML: strings.Count(doc.String(), "<details"), export.SARIF: strings.Count(doc.String(), `"partialFingerprints"`),
		}[f]
		if got != len(findings) {
			t.Errorf("%s has %d findings, want %d", f, got, len(findings))
		}
		resp, _ := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID+"/report?format="+string(f), "", nil)
		for header, want := range map[string]string{
			"Content-Type": f.MediaType(), "Content-Disposition": fmt.Sprintf(`attachment; filename="securetag-%s.%s"`, scan.ID, f),
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
		} {
			if got := resp.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", f, header, got, want)
			}
		}
	}

	if err := bob.Report(t.Context(), scan.ID, "csv", &early); statusOf(err) != http.StatusNotFound {
		t.Errorf("another tenant's report: %v, want 404", err)
	}
	for _, query := range []string{"?format=pdf", "?format=csv&format=html&other=1"} {
		resp, body := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID+"/report"+query, "", nil)
		var p client.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != http.StatusUnprocessableEntity || len(p.Errors) == 0 {
			t.Errorf("%q: %d %s", query, resp.StatusCode, body)
		}
	}
}

// stuck is a client that reads nothing for now.
type stuck struct {
	header         http.Header
	asked, release chan struct{}
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}

func (s *stuck) Write(b []byte) (int, error) {
	s.asked <- struct{}{}
	<-s.release
	return len(b), nil
}

// TestReportsOfOneTenant: a tenant whose clients read slowly has so many reports
// and no more, and is in nobody else's way.
func TestReportsOfOneTenant(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	theirs, err := e.client(t, "bob").Upload(t.Context(), strings.NewReader("PK"), client.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := "/scans/" + scan.ID + "/report?format=csv"
	asked, release := make(chan struct{}), make(chan struct{})
	var reading sync.WaitGroup
	const most = 4
	for range most {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		req.Header.Set("X-API-Key", e.keys["alice"])
		slow := &stuck{header: http.Header{}, asked: asked, release: release}
		reading.Go(func() { e.api.ServeHTTP(slow, req) })
		<-asked
	}
	resp, body := e.do(t, "alice", http.MethodGet, path, "", nil)
	if p := problem(t, resp, body); p.Status != http.StatusTooManyRequests || p.Code != "too_many_reports" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("report %d: %d %s", most+1, resp.StatusCode, body)
	}
	var doc bytes.Buffer
	if err := e.client(t, "bob").Report(t.Context(), theirs.ID, "csv", &doc); err != nil {
		t.Errorf("another tenant's report meanwhile: %v", err)
	}
	close(release)
	reading.Wait()
	if err := e.client(t, "alice").Report(t.Context(), scan.ID, "csv", &doc); err != nil {
		t.Errorf("a report after the slow ones: %v", err)
	}
}
