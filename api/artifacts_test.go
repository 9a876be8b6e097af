package api_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
)

// artifact stores a blob and gives the artifact that names it.
func (e *env) artifact(t *testing.T, name, content string) host.Artifact {
	t.Helper()
	blobs, err := dirblob.New(e.blobs)
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	a := host.Artifact{ID: host.NewArtifactID(), Name: name, MediaType: "text/html"}
	a.Blob = host.BlobKey("artifacts/" + string(a.ID))
	a.Size, a.SHA256, err = blobs.Put(t.Context(), a.Blob, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	alice, bob := e.client(t, "alice"), e.client(t, "bob")
	if got, err := alice.Artifacts(t.Context(), scan.ID); err != nil || len(got) != 0 {
		t.Errorf("artifacts of a scan that waits: %+v, %v", got, err)
	}
	const script = "<script>alert(1)</script>"
	page, large := e.artifact(t, "report.html", script), e.artifact(t, "z.bin", strings.Repeat("x", 300_000))
	e.finish(t, scan.ID, nil, large, page)

	got, err := alice.Artifacts(t.Context(), scan.ID)
	if err != nil || len(got) != 2 || got[0].Name != "report.html" || got[0].Plugin != "secrets" || got[0].SHA256 != page.SHA256 {
		t.Fatalf("artifacts: %+v, %v", got, err)
	}
	var content bytes.Buffer
	if err := alice.Download(t.Context(), got[0], &content); err != nil || content.String() != script {
		t.Errorf("Download = %q, %v", content.String(), err)
	}
	content.Reset()
	if err := alice.Download(t.Context(), got[1], &content); err != nil || content.Len() != 300_000 {
		t.Errorf("Download = %d bytes, %v", content.Len(), err)
	}
	wrong := got[1]
	wrong.SHA256 = got[0].SHA256
	if err := alice.Download(t.Context(), wrong, &content); err == nil {
		t.Error("a download with another sum than expected was taken")
	}

	path := "/scans/" + scan.ID + "/artifacts/" + got[0].ID
	resp, _ := e.do(t, "alice", http.MethodGet, path, "", nil)
	for header, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Disposition": `attachment; filename="report.html"`,
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}

	// Another tenant, another scan, what is no id, and no key at all.
	other := e.upload(t, client.UploadOptions{})
	if _, err := bob.Artifacts(t.Context(), scan.ID); statusOf(err) != http.StatusNotFound {
		t.Errorf("another tenant's list: %v, want 404", err)
	}
	if err := bob.Download(t.Context(), got[0], &content); statusOf(err) != http.StatusNotFound {
		t.Errorf("another tenant's download: %v, want 404", err)
	}
	for _, path := range []string{
		"/scans/" + other.ID + "/artifacts/" + got[0].ID, "/scans/" + scan.ID + "/artifacts/x",
		"/scans/x/artifacts/" + got[0].ID, "/scans/" + scan.ID + "/artifacts/" + string(host.NewArtifactID()),
	} {
		if resp, _ := e.do(t, "alice", http.MethodGet, path, "", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, resp.StatusCode)
		}
	}
	if resp, _ := e.do(t, "", http.MethodGet, path, "", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: status %d", resp.StatusCode)
	}
}

// TestArtifactGone has a row whose blob somebody removed.
func TestArtifactGone(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	scan := e.upload(t, client.UploadOptions{})
	a := e.artifact(t, "a", "x")
	e.finish(t, scan.ID, nil, a)
	files, err := filepath.Glob(filepath.Join(e.blobs, "*", "artifacts*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the blob's file: %q, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	resp, body := e.do(t, "alice", http.MethodGet, "/scans/"+scan.ID+"/artifacts/"+string(a.ID), "", nil)
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(e.log.String(), "the content of an artifact is gone") {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

func statusOf(err error) int {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}
