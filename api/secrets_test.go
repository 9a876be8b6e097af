package api_test

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/secretbox"
)

// secretKeys are those of the host in these tests.
func secretKeys(t testing.TB) *secretbox.Ring {
	t.Helper()
	r, err := secretbox.New([][]byte{bytes.Repeat([]byte{1}, secretbox.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// secretOptions are those that the plugins of the scan types call sensitive.
func secretOptions(_ context.Context, plugin string) ([]string, bool) {
	return map[string][]string{"secrets": {"login"}, "probe": {"login"}}[plugin], true
}

// TestUploadSecrets: the secrets of an upload are sealed for its scan, wherever the
// part stands, and no answer and no line of the log has them.
func TestUploadSecrets(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file := part{"file", "a.zip", "PK1"}
	secrets, options := part{"secrets", "", ` {"login": "canary"} `}, part{"options", "", `{"secrets": {"depth": 1}}`}
	for _, path := range []string{"/codeaudit/upload", "/scans/codeaudit"} {
		for _, order := range [][]part{{secrets, options, file}, {file, options, secrets}} {
			contentType, body := encode(t, order...)
			resp, text := e.do(t, "alice", http.MethodPost, path, contentType, bytes.NewReader(body))
			if resp.StatusCode != http.StatusAccepted || strings.Contains(text, "canary") || !strings.Contains(text, `"secret_options":["login"]`) {
				t.Fatalf("%s: status %d: %s", path, resp.StatusCode, text)
			}
			id := host.ScanID(strings.TrimPrefix(resp.Header.Get("Location"), "/scans/"))
			scan, err := e.store.Scan(t.Context(), e.tenants["alice"], id)
			if err != nil {
				t.Fatal(err)
			}
			claim := e.claim(t, scan.Jobs[0].ID)
			content, err := secretKeys(t).Open(e.tenants["alice"], id, claim.Scan.Secrets)
			if err != nil || string(content) != `{"login":"canary"}` || !slices.Equal(claim.Scan.SecretOptions, []string{"login"}) {
				t.Errorf("%s: the claim has %q of %q, %v", path, content, claim.Scan.SecretOptions, err)
			}
		}
	}
	s, err := e.client(t, "alice").Upload(t.Context(), strings.NewReader("PK"), client.UploadOptions{Secrets: []byte(`{"login": "canary"}`)})
	if err != nil || !slices.Equal(s.SecretOptions, []string{"login"}) {
		t.Errorf("by the client: %q, %v", s.SecretOptions, err)
	}
	if strings.Contains(e.log.String(), "canary") {
		t.Errorf("the log has it: %s", e.log)
	}
}

// TestUploadSecretsRefused: what is wrong with them is said without them, and no
// archive is kept.
func TestUploadSecretsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file, good := part{"file", "a.zip", "PK1"}, part{"secrets", "", `{"login": "canary"}`}
	for name, c := range map[string]struct {
		parts   []part
		pointer string
	}{
		"unknown":          {[]part{{"secrets", "", `{"token": "canary"}`}, file}, "form.secrets/token"},
		"unknown, last":    {[]part{file, {"secrets", "", `{"token": "canary"}`}}, "form.secrets/token"},
		"by the plugin":    {[]part{{"secrets", "", `{"secrets": {"login": "canary"}}`}, file}, "form.secrets/secrets"},
		"no object":        {[]part{{"secrets", "", `"canary"`}, file}, "form.secrets"},
		"no JSON":          {[]part{{"secrets", "", `login=canary`}, file}, "form.secrets"},
		"too large":        {[]part{{"secrets", "", `{"login": "` + strings.Repeat("canary", 3000) + `"}`}, file}, "form.secrets"},
		"two":              {[]part{good, good, file}, "form.secrets"},
		"among options":    {[]part{{"options", "", `{"secrets": {"login": "canary"}}`}, file}, "form.options/secrets/login"},
		"in both places":   {[]part{good, file, {"options", "", `{"secrets": {"login": "canary"}}`}}, "form.options/secrets/login"},
		"without a plugin": {[]part{{"options", "", `{"login": "canary"}`}, file}, "form.options/login"},
	} {
		contentType, body := encode(t, c.parts...)
		resp, text := e.do(t, "alice", http.MethodPost, "/codeaudit/upload", contentType, bytes.NewReader(body))
		p := problem(t, resp, text)
		if p.Status != http.StatusUnprocessableEntity || p.Code != "invalid" || len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer || strings.Contains(text, "canary") {
			t.Errorf("%s: %s, want %s", name, text, c.pointer)
		}
	}
	if n := e.stored(t); n != 0 || strings.Contains(e.log.String(), "canary") {
		t.Errorf("%d archives are kept; the log: %s", n, e.log)
	}
}

// TestUploadSecretsOnce: by its key a request is the same with the same secrets
// alone, however they are written.
func TestUploadSecretsOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	file := part{"file", "a.zip", "PK1"}
	first, want := e.uploadKeyed(t, "alice", "k", file, part{"secrets", "", `{"login": {"a": 1, "b": 2}}`})
	if first.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s", first.StatusCode, want)
	}
	if resp, body := e.uploadKeyed(t, "alice", "k", part{"secrets", "", `{"login":{"b":2,"a":1}}`}, file); body != want || resp.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("in other words: status %d: %s", resp.StatusCode, body)
	}
	for name, parts := range map[string][]part{
		"another login": {file, {"secrets", "", `{"login": {"a": 1, "b": 3}}`}}, "none": {file}, "an empty one": {file, {"secrets", "", `{}`}},
	} {
		resp, body := e.uploadKeyed(t, "alice", "k", parts...)
		if p := problem(t, resp, body); p.Status != 422 || p.Code != "idempotency_key_reused" {
			t.Errorf("%s: %s", name, body)
		}
	}
}
