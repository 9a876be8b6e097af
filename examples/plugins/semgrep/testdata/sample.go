// Package sample has what each rule is for, and what it must leave alone: see
// sample.py.
package sample

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

func query(ctx context.Context, db *sql.DB, name string) {
	// ruleid: go-sql-injection
	db.Query(fmt.Sprintf("SELECT * FROM users WHERE name = '%s'", name))
	q := "SELECT * FROM users WHERE name = '" + name + "'"
	// ruleid: go-sql-injection
	db.QueryContext(ctx, q)
	// ok: go-sql-injection
	db.Query("SELECT * FROM users WHERE name = $1", name)
	// ok: go-sql-injection
	db.ExecContext(ctx, "DELETE "+"FROM users")
}

func command(name string) {
	// ruleid: go-command-injection
	exec.Command("sh", "-c", "ping "+name)
	// ruleid: go-command-injection
	exec.Command("/bin/bash", "-c", name)
	// ok: go-command-injection
	exec.Command("ping", name)
	// ok: go-command-injection
	exec.Command("sh", "-c", "ls | wc -l")
}

func weak(data []byte) {
	// ruleid: go-weak-crypto
	md5.Sum(data)
	// ok: go-weak-crypto
	sha256.Sum256(data)
	// ruleid: go-tls-unverified
	_ = &tls.Config{InsecureSkipVerify: true}
	// ok: go-tls-unverified
	_ = &tls.Config{MinVersion: tls.VersionTLS13}
}

func load(w http.ResponseWriter, r *http.Request) {
	var v any
	// ruleid: go-unsafe-deserialization
	gob.NewDecoder(r.Body).Decode(&v)
	// ok: go-unsafe-deserialization
	json.NewDecoder(r.Body).Decode(&v)
}

func files(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	// ruleid: go-path-traversal
	os.ReadFile(filepath.Join("/srv/files", name))
	// ruleid: go-path-traversal
	http.ServeFile(w, r, "/srv/files/"+r.PathValue("name"))
	// ok: go-path-traversal
	os.ReadFile(filepath.Join("/srv/files", filepath.Base(name)))
	// ok: go-path-traversal
	os.ReadFile("/srv/files/index.html")
}

func fetch(w http.ResponseWriter, r *http.Request) {
	// ruleid: go-ssrf
	http.Get(r.FormValue("url"))
	// ok: go-ssrf
	http.Get("https://example.com/?q=" + url.QueryEscape(r.FormValue("q")))
}

func hello(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	// ruleid: go-xss
	fmt.Fprintf(w, "<h1>%s</h1>", name)
	// ruleid: go-xss
	w.Write([]byte("<h1>" + name + "</h1>"))
	// ok: go-xss
	fmt.Fprintf(w, "<h1>%s</h1>", html.EscapeString(name))
	// ok: go-xss
	fmt.Fprintf(os.Stderr, "%s\n", name)
}
