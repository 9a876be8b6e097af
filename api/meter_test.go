package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

type answer struct {
	route  string
	status int
}

// answers is a meter that hands on what it hears of answers.
type answers struct {
	host.NoMeter
	heard chan answer
}

func (a answers) Answered(route string, status int, _ time.Duration) {
	select {
	case a.heard <- answer{route, status}:
	default: // a test that does not read them
	}
}

// TestMeterHearsRoutes: the meter gets the route and never what a client wrote.
func TestMeterHearsRoutes(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	if got := <-e.meter.heard; got != (answer{"/openapi.json", 200}) { // newEnv reads it
		t.Fatalf("heard first of %+v", got)
	}
	for _, tt := range []struct {
		who, method, path string
		want              answer
	}{
		{"alice", http.MethodGet, "/scans?limit=1", answer{"/scans", 200}},
		{"alice", http.MethodGet, "/scans/" + string(host.NewScanID()), answer{"/scans/{id}", 404}},
		{"", http.MethodGet, "/scans", answer{"/scans", 401}},
		{"", http.MethodGet, "/no/such/" + strings.Repeat("x", 100), answer{"", 404}},
		{"", "BREW", "/scans", answer{"", 405}},
	} {
		e.do(t, tt.who, tt.method, tt.path, "", nil)
		if diff := cmp.Diff(tt.want, <-e.meter.heard, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s %.20s (-want +heard):\n%s", tt.method, tt.path, diff)
		}
	}
}

// TestArchiveRemoved: a scan says that retention took its archive.
func TestArchiveRemoved(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	if scan.Archive.RemovedAt != nil {
		t.Errorf("a new archive was removed at %v", scan.Archive.RemovedAt)
	}
	e.finish(t, scan.ID, nil)
	if out, err := e.store.DropArchives(t.Context(), 0, 10); err != nil || out.Scans != 1 {
		t.Fatalf("DropArchives = %+v, %v", out, err)
	}
	got, err := e.client(t, "alice").Scan(t.Context(), scan.ID)
	if err != nil {
		t.Fatal(err)
	}
	if at := got.Archive.RemovedAt; at == nil || at.Before(scan.CreatedAt) {
		t.Errorf("the archive was removed at %v", at)
	}
	got.Archive.RemovedAt = nil
	if diff := cmp.Diff(scan.Archive, got.Archive); diff != "" {
		t.Errorf("the archive is described otherwise now (-before +after):\n%s", diff)
	}
}
