package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProofsInTheWild: what the files that should not be there look like in the wild, beside
// what TestProofs has of each, and what they are not taken for.
func TestProofsInTheWild(t *testing.T) {
	t.Parallel()
	const pem = "-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
	env := "APP=x\nKEY=\"-----BEGIN PRIVATE" + " KEY-----\nMIIEvgIBADANBg/+\n-----END PRIVATE KEY-----\"\nLAST='a\n\nb' # c\nURL=https://a.test/?x=\"1\"\n"
	files := map[string]struct {
		body, encoding string
		rules          []string
	}{
		"/server.key":      {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + pem, "", []string{"exposed-key"}},
		"/privatekey.pem":  {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\r\n" + pem, "", []string{"exposed-key"}},
		"/id_rsa":          {"<pre>\n" + pem, "", nil}, // a page about keys
		"/.env":            {env, "", []string{"exposed-settings"}},
		"/.env.local":      {env + "<p>this is how", "", nil},
		"/.env.production": {"KEY=\"never closed\n<p>x\n", "", nil},
		"/.env.bak":        {"A=" + strings.Repeat("x", 32<<10-8) + "\nCUT_HERE=1\n", "", []string{"exposed-settings"}},
		"/backup.tar.gz":   {strings.Repeat("\x00", 257) + "ustar\x0000" + strings.Repeat("\x00", 300), "gzip", []string{"exposed-backup"}},
		"/.htpasswd":       {"joe:$6$salt$hash\n", "", []string{"exposed-settings"}},
	}
	for path, tt := range files {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", htmlPage("hello"))
			mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/octet-stream")
				body := []byte(tt.body)
				if tt.encoding != "" { // as a server does that takes the ending for an encoding
					w.Header().Set("Content-Encoding", tt.encoding)
					var b bytes.Buffer
					z := gzip.NewWriter(&b)
					_, _ = io.WriteString(z, tt.body)
					_ = z.Close()
					body = b.Bytes()
				}
				_, _ = w.Write(body)
			})
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, nil, nil)
			if diff := cmp.Diff(tt.rules, broken(r.Findings, "exposed-")); diff != "" {
				t.Error(diff)
			}
			if all := shown(r); strings.Contains(all, "MIIE") || strings.Contains(all, "MHcC") {
				t.Errorf("a key is shown:\n%s", all)
			}
		})
	}
}

// TestListingsOfServers: how servers of today write their listings.
func TestListingsOfServers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"Tomcat": `<!doctype html><html lang="en"><head><title>Directory Listing For [/docs/]</title></head><body><h1>Directory Listing For [/docs/]</h1><a href="/docs/a.txt"><tt>a.txt</tt></a>`,
		"IIS":    `<html><head><title>site.test - /docs/</title></head><body><H1>site.test - /docs/</H1><hr><pre><A HREF="/">[To Parent Directory]</A><br><br> 1/2/2026 10:00 AM 12 <A HREF="/docs/a.txt">a.txt</A><br></pre><hr></body></html>`,
	} {
		if !isListing([]byte(body)) {
			t.Error(name)
		}
	}
	if isListing([]byte(`<title>How IIS lists</title><p>It writes [To Parent Directory] above. <a href="/x">x</a>`)) {
		t.Error("an article is a listing")
	}
}
