package postgres_test

import (
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/internal/testserver"
)

// BenchmarkTenantReads is what a tenant's reads cost, with row-level security and
// without: GET /scans/{id}, a list of 50 scans, and a page of 1,000 findings.
func BenchmarkTenantReads(b *testing.B) {
	s, err := postgres.Open(b.Context(), postgres.Config{URL: testserver.Postgres(b), MaxConns: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t"}
	if err := s.CreateTenant(b.Context(), tenant); err != nil {
		b.Fatal(err)
	}
	var scans []host.Scan
	for range 1000 {
		scans = append(scans, host.Scan{ID: host.NewScanID(), TenantID: tenant.ID, Type: "web", Input: host.Input{URL: "https://x/"},
			Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}})
	}
	if _, err := s.Accept(b.Context(), scans, nil); err != nil {
		b.Fatal(err)
	}
	out, err := s.Dispatch(b.Context(), host.DispatchQuery{Plugins: []string{"p"}, Window: 1, Horizon: time.Hour, Claim: host.AtOnce{Owner: "a", Most: 1, TTL: time.Hour}})
	if err != nil || len(out.Claims) != 1 {
		b.Fatal(out, err)
	}
	var found []host.Finding
	for range 1000 {
		found = append(found, host.Finding{ID: host.NewFindingID(), RuleID: "r", Title: "t", Severity: host.SeverityHigh})
	}
	if _, err := s.Finish(b.Context(), []host.Outcome{{Lease: out.Claims[0].Lease, State: host.StateSucceeded, Findings: found}}); err != nil {
		b.Fatal(err)
	}
	scan := out.Claims[0].Scan.ID
	for name, read := range map[string]func() error{
		"scan":  func() error { _, err := s.Scan(b.Context(), tenant.ID, scan); return err },
		"scans": func() error { _, err := s.Scans(b.Context(), tenant.ID, host.ScanQuery{}); return err },
		"findings": func() error {
			_, err := s.Findings(b.Context(), tenant.ID, scan, host.FindingQuery{Limit: 1000})
			return err
		},
	} {
		for _, confined := range []bool{true, false} {
			s.Confine(confined)
			b.Run(name+map[bool]string{true: "/confined", false: "/alone"}[confined], func(b *testing.B) {
				for b.Loop() {
					if err := read(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
