package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
)

// ownOptions are those of the scan types deep and packed.
const ownOptions = `{"type":"object","additionalProperties":false,"required":["mode"],"properties":{
	"depth":{"type":"integer","minimum":1,"maximum":10,"default":3,"description":"How deep."},
	"mode":{"type":"string","enum":["fast","deep"]}}}`

func TestScanOptions(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	const want = `{"depth":3,"mode":"fast"}`
	given := json.RawMessage(`{"mode":"fast"}`)
	c := e.client(t, "alice")
	started, err := c.StartURL(t.Context(), "https://example.com/", client.StartOptions{Type: "deep", Options: given})
	if err != nil || string(started.Options) != want {
		t.Fatalf("a scan of a URL: options %s, %v; want %s", started.Options, err, want)
	}
	uploaded, err := c.Upload(t.Context(), strings.NewReader("PK"), client.UploadOptions{Type: "packed", Options: given})
	if err != nil || string(uploaded.Options) != want {
		t.Fatalf("an upload: options %s, %v; want %s", uploaded.Options, err, want)
	}
	if s, err := c.Scan(t.Context(), uploaded.ID); err != nil || string(s.Options) != want {
		t.Errorf("read back: options %s, %v; want %s", s.Options, err, want)
	}
}

func TestScanOptionsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	refused := func(what string, resp *http.Response, body string, pointers ...string) {
		t.Helper()
		p := problem(t, resp, body)
		var got []string
		for _, e := range p.Errors {
			got = append(got, e.Pointer)
		}
		if p.Status != http.StatusUnprocessableEntity || p.Code != "invalid" || strings.Join(got, " ") != strings.Join(pointers, " ") {
			t.Errorf("%s: %+v, want 422 at %q", what, p, pointers)
		}
		if !strings.Contains(p.Errors[0].Detail, "between 1 and 10") {
			t.Errorf("%s: %q does not say what is allowed", what, p.Errors[0].Detail)
		}
	}
	const bad = `{"depth":11,"moed":"fast"}`
	resp, body := e.do(t, "alice", http.MethodPost, "/scans/deep", "application/json", strings.NewReader(`{"url":"https://example.com","options":`+bad+`}`))
	refused("JSON", resp, body, "#/options/depth", "#/options/moed", "#/options/mode")
	contentType, form := encode(t, part{"options", "", bad}, part{"file", "a.zip", "PK"})
	resp, body = e.do(t, "alice", http.MethodPost, "/packed/upload", contentType, bytes.NewReader(form))
	refused("form", resp, body, "form.options/depth", "form.options/moed", "form.options/mode")
	if n := e.stored(t); n != 0 {
		t.Errorf("%d blobs stored, want none", n)
	}
}

// TestScanOptionsInOpenAPI: each route documents what its own scan type takes.
func TestScanOptionsInOpenAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	_, text := e.do(t, "alice", http.MethodGet, "/openapi.json", "", nil)
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody json.RawMessage `json:"requestBody"`
			} `json:"post"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	for path, has := range map[string]bool{"/scans/deep": true, "/packed/upload": true, "/scans/dast": false, "/codeaudit/upload": false} {
		body := string(doc.Paths[path].Post.RequestBody)
		if strings.Contains(body, `"maximum":10`) != has || strings.Contains(body, `"enum":["fast","deep"]`) != has {
			t.Errorf("%s: %s; want its options there: %t", path, body, has)
		}
	}
}
