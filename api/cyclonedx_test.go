package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

// longest keeps what is written, and how much at once at most.
type longest struct {
	httptest.ResponseRecorder
	most int
}

func (l *longest) Write(b []byte) (int, error) {
	l.most = max(l.most, len(b))
	return l.ResponseRecorder.Write(b)
}

// TestPacedPieces: a document that is there as a whole is sent in pieces, so that
// a slow client has time for each.
func TestPacedPieces(t *testing.T) {
	t.Parallel()
	w := &longest{ResponseRecorder: *httptest.NewRecorder()}
	whole := bytes.Repeat([]byte("0123456789"), 100_000)
	if err := api.WritePaced(w, whole); err != nil {
		t.Fatal(err)
	}
	if w.most > 64<<10 || !bytes.Equal(w.Body.Bytes(), whole) {
		t.Errorf("%d bytes at once at most, %d in all", w.most, w.Body.Len())
	}
}

// TestCycloneDX: a scan's components are what its jobs kept, or a problem that
// says why there are none.
func TestCycloneDX(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	alice := e.client(t, "alice")
	get := func(t *testing.T, scan client.Scan) (int, client.Problem, string) {
		t.Helper()
		resp, body := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID+"/report?format=cyclonedx", "", nil)
		if resp.StatusCode == http.StatusOK {
			if got := resp.Header.Get("Content-Disposition"); got != `attachment; filename="securetag-`+scan.ID+`.cdx.json"` {
				t.Errorf("Content-Disposition is %q", got)
			}
			return resp.StatusCode, client.Problem{}, body
		}
		return resp.StatusCode, problem(t, resp, body), body
	}
	bom := func(content string) host.Artifact {
		a := e.artifact(t, "sbom.cdx.json", content)
		a.MediaType = export.CycloneDXMedia
		return a
	}
	const sound = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library","name":"lodash","purl":"pkg:npm/lodash@4.17.15"}]}`

	waiting := e.upload(t, client.UploadOptions{})
	if status, p, _ := get(t, waiting); status != http.StatusConflict || !strings.Contains(p.Detail, "has not ended") {
		t.Errorf("a scan that waits: %d %+v", status, p)
	}
	e.finish(t, waiting.ID, nil, bom(sound))
	if status, _, body := get(t, waiting); status != http.StatusOK || !strings.Contains(body, "pkg:npm/lodash@4.17.15") || strings.Contains(body, "incomplete") {
		t.Errorf("%d %s", status, body)
	}
	var doc bytes.Buffer
	if err := alice.Report(t.Context(), waiting.ID, "cyclonedx", &doc); err != nil || !strings.Contains(doc.String(), "lodash") {
		t.Errorf("the client: %v", err)
	}
	if err := e.client(t, "bob").Report(t.Context(), waiting.ID, "cyclonedx", &doc); statusOf(err) != http.StatusNotFound {
		t.Errorf("another tenant's: %v, want 404", err)
	}

	none := e.upload(t, client.UploadOptions{})
	e.finish(t, none.ID, nil, e.artifact(t, "page.html", "x"))
	if status, p, _ := get(t, none); status != http.StatusNotFound || p.Code != "no_cyclonedx" {
		t.Errorf("no document: %d %+v", status, p)
	}

	for name, content := range map[string]string{"not JSON": "<bom/>", "not CycloneDX": `{"spdxVersion":"SPDX-2.3"}`, "cut": sound[:50]} {
		broken := e.upload(t, client.UploadOptions{})
		e.finish(t, broken.ID, nil, bom(content))
		if status, p, _ := get(t, broken); status != http.StatusConflict || !strings.Contains(p.Detail, "secrets") {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}

	large := e.upload(t, client.UploadOptions{})
	a := bom(sound)
	a.Size = 17 << 20
	e.finish(t, large.ID, nil, a)
	if status, p, _ := get(t, large); status != http.StatusConflict || !strings.Contains(p.Detail, "one by one") {
		t.Errorf("too large: %d %+v", status, p)
	}

	for _, state := range []host.State{host.StateFailed, host.StatePartial} {
		scan := e.upload(t, client.UploadOptions{})
		e.finishAs(t, scan.ID, state, bom(sound))
		status, p, body := get(t, scan)
		switch state {
		case host.StateFailed:
			if status != http.StatusConflict || !strings.Contains(p.Detail, "secrets failed") {
				t.Errorf("failed: %d %s", status, body)
			}
		default:
			if status != http.StatusOK || !strings.Contains(body, `"aggregate":"incomplete"`) {
				t.Errorf("partial: %d %s", status, body)
			}
		}
	}
}

// finishAs ends the one job of a scan in a state that is no success.
func (e *env) finishAs(t *testing.T, id string, state host.State, artifacts ...host.Artifact) {
	t.Helper()
	scan, err := e.store.Scan(t.Context(), e.tenants["alice"], host.ScanID(id))
	if err != nil {
		t.Fatal(err)
	}
	lost, err := e.store.Finish(t.Context(), []host.Outcome{{
		Lease: e.claim(t, scan.Jobs[0].ID).Lease, State: state, Artifacts: artifacts,
		Error: &host.JobError{Code: "plugin_failed", Message: "it did"},
	}})
	if err != nil || len(lost) > 0 {
		t.Fatalf("finish the job of scan %s: lost %v, %v", id, lost, err)
	}
}
