package postgres_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/postgres"
)

// outside are the methods that take a tenant and run as the role of the connection,
// with the reason.
func outside() map[string]string {
	operators := "an operator's, about a tenant"
	return map[string]string{
		"SetShare": operators, "SetTerms": operators, "Suspend": operators, "Unsuspend": operators, "DeleteTenant": operators,
	}
}

// TestMethodsAreConfined takes the methods from host.Store: with policies that let
// the role of tenants see nothing, each that takes a tenant must find nothing of what
// that tenant has.
func TestMethodsAreConfined(t *testing.T) {
	t.Parallel()
	url := migrated.Postgres(t)
	s := open(t, postgres.Config{URL: url})
	scan := populated(t, s, "a")
	tenant := scan.TenantID
	keys, err := s.Keys(t.Context(), tenant)
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	deletion, err := s.DeleteScan(t.Context(), tenant, again(t, s, tenant))
	if err != nil {
		t.Fatal(err)
	}
	hook, err := s.CreateWebhook(t.Context(), host.Webhook{ID: host.NewWebhookID(), TenantID: tenant, URL: "https://x/", Events: host.WebhookEvents(), Secret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	target, err := s.CreateTarget(t.Context(), host.Target{ID: host.NewTargetID(), TenantID: tenant, Host: "x.example", Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	delivery, err := s.TestWebhook(t.Context(), tenant, hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.ProjectFindings(t.Context(), tenant, "p", host.ProjectFindingQuery{})
	if err != nil || len(found.Items) != 1 {
		t.Fatal(found, err)
	}
	known, said := found.Items[0].ID, host.Said{Triage: host.TriageOpen, Author: "k"}
	calls := map[string]func(ctx context.Context) (any, error){
		"Scan": func(ctx context.Context) (any, error) { return s.Scan(ctx, tenant, scan.ID) },
		"Scans": func(ctx context.Context) (any, error) {
			all, err := s.Scans(ctx, tenant, host.ScanQuery{})
			return none(len(all), err)
		},
		"Cancel":    func(ctx context.Context) (any, error) { return s.Cancel(ctx, tenant, scan.ID) },
		"Findings":  func(ctx context.Context) (any, error) { return s.Findings(ctx, tenant, scan.ID, host.FindingQuery{}) },
		"Artifacts": func(ctx context.Context) (any, error) { return s.Artifacts(ctx, tenant, scan.ID) },
		"Usage":     func(ctx context.Context) (any, error) { return s.Usage(ctx, tenant) },
		"Keys": func(ctx context.Context) (any, error) {
			all, err := s.Keys(ctx, tenant)
			return none(len(all), err)
		},
		"RevokeKey": func(ctx context.Context) (any, error) { return nil, s.RevokeKey(ctx, tenant, keys[0].ID) },
		"RotateKey": func(ctx context.Context) (any, error) {
			return s.RotateKey(ctx, tenant, keys[0].ID, time.Hour, host.Key{ID: host.NewKeyID()})
		},
		"Deletion":   func(ctx context.Context) (any, error) { return s.Deletion(ctx, tenant, deletion.ID) },
		"DeleteScan": func(ctx context.Context) (any, error) { return s.DeleteScan(ctx, tenant, scan.ID) },
		"Webhooks": func(ctx context.Context) (any, error) {
			all, err := s.Webhooks(ctx, tenant)
			return none(len(all), err)
		},
		"Webhook": func(ctx context.Context) (any, error) { return s.Webhook(ctx, tenant, hook.ID) },
		"UpdateWebhook": func(ctx context.Context) (any, error) {
			return s.UpdateWebhook(ctx, tenant, hook.ID, 0, host.WebhookChange{Enabled: new(false)})
		},
		"RotateWebhook": func(ctx context.Context) (any, error) { return s.RotateWebhook(ctx, tenant, hook.ID, "t", time.Hour) },
		"DeleteWebhook": func(ctx context.Context) (any, error) { return nil, s.DeleteWebhook(ctx, tenant, hook.ID) },
		"TestWebhook":   func(ctx context.Context) (any, error) { return s.TestWebhook(ctx, tenant, hook.ID) },
		"Redeliver":     func(ctx context.Context) (any, error) { return s.Redeliver(ctx, tenant, hook.ID, delivery.ID) },
		"Deliveries": func(ctx context.Context) (any, error) {
			return s.Deliveries(ctx, tenant, hook.ID, host.DeliveryQuery{})
		},
		"Targets": func(ctx context.Context) (any, error) {
			all, err := s.Targets(ctx, tenant)
			return none(len(all), err)
		},
		"Target": func(ctx context.Context) (any, error) { return s.Target(ctx, tenant, target.ID) },
		"BeginTargetCheck": func(ctx context.Context) (any, error) {
			return s.BeginTargetCheck(ctx, tenant, target.ID, 0)
		},
		"EndTargetCheck": func(ctx context.Context) (any, error) {
			return s.EndTargetCheck(ctx, tenant, target.ID, host.TargetCheck{Proof: host.ProofDNS})
		},
		"DeleteTarget": func(ctx context.Context) (any, error) { return nil, s.DeleteTarget(ctx, tenant, target.ID) },
		"Permit": func(ctx context.Context) (any, error) {
			terms, _, err := s.Permit(ctx, tenant, time.Hour)
			return terms, err
		},
		"Earlier":       func(ctx context.Context) (any, error) { return s.Earlier(ctx, tenant, [32]byte{1}) },
		"DeleteProject": func(ctx context.Context) (any, error) { return s.DeleteProject(ctx, tenant, "p") },
		"Projects": func(ctx context.Context) (any, error) {
			all, err := s.Projects(ctx, tenant, "", 0)
			return none(len(all), err)
		},
		"Project":    func(ctx context.Context) (any, error) { return s.Project(ctx, tenant, "p") },
		"SetProject": func(ctx context.Context) (any, error) { return s.SetProject(ctx, tenant, "p", 1, host.Gate{}) },
		"ProjectFindings": func(ctx context.Context) (any, error) {
			return s.ProjectFindings(ctx, tenant, "p", host.ProjectFindingQuery{})
		},
		"ProjectFinding": func(ctx context.Context) (any, error) {
			f, _, err := s.ProjectFinding(ctx, tenant, known)
			return f, err
		},
		"Triage":     func(ctx context.Context) (any, error) { return s.Triage(ctx, tenant, known, 0, said) },
		"TriageMany": func(ctx context.Context) (any, error) { return s.TriageMany(ctx, tenant, "p", nil, said) },
		"Diff":       func(ctx context.Context) (any, error) { return s.Diff(ctx, tenant, scan.ID, scan.ID) },
		"GateFacts": func(ctx context.Context) (any, error) {
			f, err := s.GateFacts(ctx, scan)
			if f.Tracking == nil && err == nil {
				err = host.ErrNotFound
			}
			return f, err
		},
	}
	var want []string
	for m := range reflect.TypeFor[host.Store]().Methods() {
		if f := m.Type; f.NumIn() > 1 && f.In(1) == reflect.TypeFor[host.TenantID]() {
			want = append(want, m.Name)
		}
	}
	listed := slices.Sorted(maps.Keys(calls))
	for _, name := range want {
		if outside()[name] == "" && !slices.Contains(listed, name) {
			t.Errorf("%s takes a tenant: run it by tenantRead or tenantBatch and add it to calls, or say in outside why not", name)
		}
	}
	blind(t, url)
	for name, call := range calls {
		if got, err := call(t.Context()); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("%s does not run as the role of tenants: it found %+v, %v", name, got, err)
		}
	}
	key := host.Key{ID: host.NewKeyID(), TenantID: tenant, Scopes: host.AllScopes()}
	if err := s.CreateKey(t.Context(), key); err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Errorf("CreateKey does not run as the role of tenants: %v", err)
	}
	target.ID, target.Host = host.NewTargetID(), "y.example"
	if _, err := s.CreateTarget(t.Context(), target); err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Errorf("CreateTarget does not run as the role of tenants: %v", err)
	}
	hook.ID, hook.Secret = host.NewWebhookID(), "s"
	if _, err := s.CreateWebhook(t.Context(), hook); err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Errorf("CreateWebhook does not run as the role of tenants: %v", err)
	}
}

// none is ErrNotFound for an empty list.
func none(n int, err error) (any, error) {
	if err == nil && n == 0 {
		err = host.ErrNotFound
	}
	return n, err
}

// again accepts another scan.
func again(t *testing.T, s *postgres.Store, tenant host.TenantID) host.ScanID {
	t.Helper()
	scans, err := s.Accept(t.Context(), []host.Scan{{ID: host.NewScanID(), TenantID: tenant, Type: "web", Input: host.Input{URL: "https://x/"},
		Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scans[0].ID
}

// blind lets the role of tenants see no row of any.
func blind(t *testing.T, url string) {
	t.Helper()
	conn := connect(t, url)
	for _, table := range append(tenantTables(t, conn), "tenants") {
		_, err := conn.Exec(t.Context(), `alter policy own_tenant on `+pgx.Identifier{table}.Sanitize()+` using (current_user <> 'securetag_tenant')`)
		if err != nil {
			t.Fatal(err)
		}
	}
}
