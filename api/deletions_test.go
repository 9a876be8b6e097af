package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func TestDeleteScan(t *testing.T) {
	t.Parallel()
	said := make(chan bool, 10)
	e := newEnvMax(t, api.Config{}, maxArchive, func(d *api.Deps) { d.Deleted = func() { said <- true } })
	alice := e.client(t, "alice")
	scan, kept := e.upload(t, client.UploadOptions{Project: "p"}), e.upload(t, client.UploadOptions{Project: "p"})
	resp, body := e.do(t, "alice", http.MethodDelete, "/scans/"+scan.ID, "", nil)
	location := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || !strings.HasPrefix(location, "/deletions/") || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("delete: %d, %v, %s", resp.StatusCode, resp.Header, body)
	}
	if got := <-e.canceled; string(got.ID) != scan.ID || len(said) != 1 {
		t.Errorf("canceled %s; told the sweeper %d times, want once", got.ID, len(said))
	}
	for _, path := range []string{"", "/findings", "/artifacts"} {
		if resp, _ := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID+path, "", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s of a deleted scan: %d", path, resp.StatusCode)
		}
	}
	if _, err := alice.DeleteScan(t.Context(), scan.ID); status(err) != http.StatusNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	page, err := alice.Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(page.Items) != 1 || page.Items[0].ID != kept.ID {
		t.Errorf("listed: %+v, %v", page.Items, err)
	}
	id := strings.TrimPrefix(location, "/deletions/")
	d, err := alice.Deletion(t.Context(), id)
	if err != nil || d.State != client.Deleting || d.ScanID != scan.ID || d.Scans != 1 || d.Left != 1 || d.FinishedAt != nil {
		t.Errorf("while it goes on: %+v, %v", d, err)
	}
	for range 2 {
		if _, err := e.store.DropDeleted(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	d, err = alice.WaitDeletion(t.Context(), id)
	if err != nil || d.State != client.Deleted || d.Left != 0 || d.FinishedAt == nil {
		t.Errorf("when it is done: %+v, %v", d, err)
	}
	if resp, _ := e.do(t, "alice", http.MethodGet, location, "", nil); resp.Header.Get("Retry-After") != "" {
		t.Error("what is done asks to be asked again")
	}
}

func TestDeleteProjectScans(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	e.key(t, "ci", "alice", host.DefaultScopes()...)
	for range 3 {
		e.upload(t, client.UploadOptions{Project: "p"})
	}
	kept := e.upload(t, client.UploadOptions{Project: "q"})
	if _, err := e.client(t, "ci").DeleteProjectScans(t.Context(), "p"); status(err) != http.StatusForbidden {
		t.Errorf("by a key without the scope admin: %v", err)
	}
	alice := e.client(t, "alice")
	d, err := alice.DeleteProjectScans(t.Context(), "p")
	if err != nil || d.Project != "p" || d.ScanID != "" || d.Scans != 3 || d.State != client.Deleting {
		t.Fatalf("deletion %+v, %v", d, err)
	}
	if _, err := alice.DeleteProjectScans(t.Context(), "p"); status(err) != http.StatusNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := e.client(t, "ci").DeleteScan(t.Context(), kept.ID); err != nil {
		t.Errorf("one scan, by the same key: %v", err)
	}
	page, err := ann.Audit(t.Context(), client.AuditQuery{Actor: "key"})
	if err != nil || len(page.Items) != 3 { // what a key without the scope tried is not an act
		t.Fatalf("audit: %+v, %v", page.Items, err)
	}
	for i, want := range []client.AuditLine{
		{Action: "delete-scan", Target: "scan " + kept.ID, Outcome: "done"},
		{Action: "delete-project-scans", Target: "project p", Outcome: "not_found"},
		{Action: "delete-project-scans", Target: "project p", Outcome: "done"},
	} {
		if got := page.Items[i]; got.Action != want.Action || got.Target != want.Target || got.Outcome != want.Outcome || got.Name == "" {
			t.Errorf("line %+v, want %+v", got, want)
		}
	}
}
