package api_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// object is what stands for a parameter: something of alice's, and what nobody has.
type object struct {
	alices string
	none   []string
}

// estate makes one of everything that alice can have, by the parameter that
// names it: of a path with the segment before it, of a query with a question mark.
func (e *env) estate(t *testing.T) map[string]object {
	t.Helper()
	artifact := e.artifact(t, "alices-report.html", "alice's content")
	base, scan, found := e.project(t, artifact)
	key := e.key(t, "alice's other", "alice", host.ScopeScanRead)
	deletion, err := e.client(t, "alice").DeleteScan(t.Context(), e.upload(t, client.UploadOptions{}).ID)
	if err != nil {
		t.Fatal(err)
	}
	hook, delivery := e.hook(t)
	registered, err := e.client(t, "alice").Targets(t.Context())
	for _, old := range registered {
		err = errors.Join(err, e.client(t, "alice").DeleteTarget(t.Context(), old.ID))
	}
	own, cerr := e.client(t, "alice").CreateTarget(t.Context(), "alices-site.example.com")
	if err = errors.Join(err, cerr); err != nil {
		t.Fatal(err)
	}
	id := func(mine, another string) object {
		return object{mine, []string{another, "not-an-id", strings.ToUpper(mine), mine + "0"}}
	}
	return map[string]object{
		"scans/{id}":            {scan.ID, append(id(scan.ID, string(host.NewScanID())).none, "web")}, // which is a route
		"artifacts/{artifact}":  id(string(artifact.ID), string(host.NewArtifactID())),
		"keys/{id}":             id(string(key.ID), string(host.NewKeyID())),
		"deletions/{id}":        id(deletion.ID, string(host.NewDeletionID())),
		"webhooks/{id}":         id(hook, string(host.NewWebhookID())),
		"targets/{id}":          id(own.ID, string(host.NewTargetID())),
		"deliveries/{delivery}": id(delivery, string(host.NewDeliveryID())),
		"projects/{project}":    {"alices-project", []string{"nobodys-project"}},
		"findings/{id}":         id(found, string(host.NewProjectFindingID())),
		"dead/{id}":             id(e.dead(t, 1)[0], string(host.NewJobID())),
		"tenants/{name}":        {"alice", []string{"nobody"}},
		"?project":              {"alices-project", []string{"nobodys-project"}},
		"?type":                 {"codeaudit", []string{"nothing"}},
		"?plugin":               {"secrets", []string{"nothing"}},
		"?rule":                 {"r", []string{"nothing"}},
		"?path":                 {"alices-path", []string{"nothing"}},
		"?base":                 {base.ID, []string{string(host.NewScanID())}},
		"?last_event_id":        {"1790000000000-1", []string{"1790000000000-2"}},
	}
}

// project has two scans that were compared, of which the second delivers an
// artifact, a finding that both saw, and another beside it without any.
func (e *env) project(t *testing.T, artifact host.Artifact) (base, scan client.Scan, finding string) {
	t.Helper()
	finish := func(artifacts ...host.Artifact) client.Scan {
		s := e.upload(t, client.UploadOptions{Project: "alices-project", Filename: "alices-file.zip"})
		e.finish(t, s.ID, []host.Finding{{ID: host.NewFindingID(), RuleID: "r", Title: "alice's finding", Severity: host.SeverityHigh,
			Confidence: host.ConfidenceLow, Location: host.Location{Path: "alices-path"}, Fingerprint: "v1:alices"}}, artifacts...)
		if tracked, err := e.store.Track(t.Context(), 1000); err != nil || tracked == nil || string(tracked.Scan) != s.ID {
			t.Fatalf("tracked %+v, %v", tracked, err)
		}
		return s
	}
	base, scan = finish(), finish(artifact)
	page, err := e.client(t, "alice").ProjectFindings(t.Context(), "alices-project", client.ProjectFindingsQuery{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := e.store.SetProject(t.Context(), e.tenants["alice"], "alices-other", 0, host.Gate{}); err != nil && !errors.Is(err, host.ErrConflict) {
		t.Fatal(err)
	}
	return base, scan, page.Items[0].ID
}

// hook makes a webhook of alice's, in place of any that she has, with two
// deliveries.
func (e *env) hook(t *testing.T) (webhook, delivery string) {
	t.Helper()
	c := e.client(t, "alice")
	all, err := c.Webhooks(t.Context())
	for _, w := range all {
		err = errors.Join(err, c.DeleteWebhook(t.Context(), w.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.CreateWebhook(t.Context(), client.WebhookRequest{URL: "https://alices-receiver.example/"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, err := c.TestWebhook(t.Context(), w.ID)
		if err != nil {
			t.Fatal(err)
		}
		delivery = d.ID
	}
	return w.ID, delivery
}

// secretsOfAlice are texts that no answer to anybody else may hold.
func secretsOfAlice() []string {
	return []string{"alices-project", "alices-file.zip", "alices-report.html", "alice's content", "alice's finding", "v1:alices", "alice's other", "alices-receiver", "alices-site", "alices-path", "alices-other"}
}

// bodies are those that the document's least is not: by operation id.
func bodies() map[string]string { return map[string]string{} }

// open lists what asks for no key, and tells nobody anything of anybody.
func open() []string { return []string{"GET /healthz", "GET /readyz"} }

// pages lists what is no operation: it is the same for everybody, and no key is
// looked at.
func pages() []string {
	return []string{"GET /openapi.json", "GET /docs", "GET /problems", "GET /problems/{code}"}
}
