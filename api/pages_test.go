package api_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func TestScanPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	var want []string
	for i := range 5 {
		s := e.upload(t, client.UploadOptions{Project: []string{"a", "b"}[i%2]})
		want = append(want, s.ID)
	}
	slices.Reverse(want)
	c := e.client(t, "alice")
	for limit := range 7 {
		var got []string
		for s, err := range c.AllScans(t.Context(), client.ScansQuery{Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.ID)
			if s.Jobs != nil {
				t.Error("a list shows jobs")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	page, err := c.Scans(t.Context(), client.ScansQuery{Project: "a", Limit: 2})
	if err != nil || len(page.Items) != 2 || page.NextPageToken == "" {
		t.Fatalf("first page of project a = %+v, %v", page, err)
	}
	page, err = c.Scans(t.Context(), client.ScansQuery{Project: "a", Limit: 10, PageToken: page.NextPageToken})
	if err != nil || len(page.Items) != 1 || page.NextPageToken != "" {
		t.Errorf("second page of project a = %+v, %v", page, err)
	}
	page, err = c.Scans(t.Context(), client.ScansQuery{State: client.StateRunning})
	if err != nil || page.Items == nil || len(page.Items) != 0 {
		t.Errorf("running scans = %+v, %v; want an empty list", page, err)
	}
}

func TestFindingPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	var findings []host.Finding
	for _, s := range []host.Severity{"low", "critical", "low", "high", "low", "unknown"} {
		findings = append(findings, host.Finding{
			ID: host.NewFindingID(), Plugin: "secrets", RuleID: "key", Title: "A key", Severity: s,
			Confidence: host.ConfidenceHigh, Location: host.Location{Path: "a/b.go", StartLine: 3}, Fingerprint: "v1:00",
		})
	}
	want := []string{"critical", "high", "low", "low", "low", "unknown"}
	e.finish(t, scan.ID, findings)
	c := e.client(t, "alice")
	for limit := range 8 {
		var got []string
		seen := map[string]bool{}
		for f, err := range c.AllFindings(t.Context(), scan.ID, client.FindingsQuery{Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.Severity)
			seen[f.ID] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || len(seen) != len(want) {
			t.Errorf("limit %d: %d different (-want +got):\n%s", limit, len(seen), diff)
		}
	}
	page, err := c.Findings(t.Context(), scan.ID, client.FindingsQuery{Severity: "low", Limit: 2})
	if err != nil || len(page.Items) != 2 || page.NextPageToken == "" {
		t.Errorf("low findings = %+v, %v", page, err)
	}
}

// TestTokensAreBound: a token is good for one tenant, list and set of filters.
func TestTokensAreBound(t *testing.T) {
	t.Parallel()
	cfg := api.Config{TokenKey: bytes.Repeat([]byte("k"), 32)}
	e := newEnv(t, cfg)
	first := e.upload(t, client.UploadOptions{Project: "a"})
	e.upload(t, client.UploadOptions{Project: "a"})
	for range 2 {
		if _, err := e.client(t, "bob").StartURL(t.Context(), "https://example.com", client.StartOptions{Type: "dast", Project: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	alice := e.client(t, "alice")
	page, err := alice.Scans(t.Context(), client.ScansQuery{Project: "a", Limit: 1})
	if err != nil || page.NextPageToken == "" {
		t.Fatalf("Scans = %+v, %v", page, err)
	}
	token := page.NextPageToken
	if _, err := alice.Scans(t.Context(), client.ScansQuery{Project: "a", PageToken: token}); err != nil {
		t.Errorf("its own list: %v", err)
	}
	refused := func(name string, err error) {
		t.Helper()
		var p *client.Error
		if !errors.As(err, &p) || p.StatusCode != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Pointer != "query.page_token" {
			t.Errorf("%s: %v, want 422 at query.page_token", name, err)
		}
	}
	_, err = alice.Scans(t.Context(), client.ScansQuery{PageToken: token})
	refused("without the filter", err)
	_, err = alice.Scans(t.Context(), client.ScansQuery{Type: "a", PageToken: token})
	refused("another filter", err)
	_, err = alice.Findings(t.Context(), first.ID, client.FindingsQuery{PageToken: token})
	refused("another list", err)
	_, err = e.client(t, "bob").Scans(t.Context(), client.ScansQuery{Project: "a", PageToken: token})
	refused("another tenant", err)
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if string(changed) == token {
			continue
		}
		_, err = alice.Scans(t.Context(), client.ScansQuery{Project: "a", PageToken: string(changed)})
		refused("changed", err)
	}
}
