package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func runUpdate(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b strings.Builder
	code = updateCommand(t.Context(), args, &b, &b)
	return code, b.String()
}

// inPlace checks that there is one database and nothing beside it.
func inPlace(t *testing.T, dir string) meta {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != databaseFile {
		t.Fatal(files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err)
	}
	db, err := openDatabase(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	return db.meta
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	zips := t.TempDir()
	f, err := os.Create(filepath.Join(zips, "npm.zip"))
	if err != nil {
		t.Fatal(err)
	}
	zipOf(t, "testdata/osv/npm", f)
	f.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/osv/npm/all.zip":
			zipOf(t, "testdata/osv/npm", w)
		case "/osv/Go/all.zip":
			zipOf(t, "testdata/osv/Go", w)
		case "/osv/PyPI/all.zip":
			w.Header().Set("Content-Length", "1000") // and then less
			_, _ = w.Write([]byte("PK"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	to := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		out  string
		npm  int // in what is in place afterwards
	}{
		{[]string{"--from", "testdata/osv"}, 0, "24 advisories, the newest of 2024-12-06", 6},
		{[]string{"--from", "testdata/osv", "--ecosystems", "npm,Maven"}, 0, "7 advisories", 6},
		{[]string{"--from", zips}, 0, "npm          6, the newest of 2024-12-06", 6},
		{[]string{"--from", filepath.Join(zips, "npm.zip")}, 0, "npm          6, the newest of 2024-12-06", 6},
		{[]string{"--from", server.URL + "/osv", "--ecosystems", "npm,Go"}, 0, "13 advisories", 6},
		{[]string{"--from", server.URL + "/osv", "--ecosystems", "npm,PyPI"}, 1, "unexpected EOF", 6},
		{[]string{"--from", server.URL + "/osv", "--ecosystems", "npm,Maven"}, 1, "404 Not Found; --ecosystems takes only some of", 6},
		{[]string{"--from", "testdata/app"}, 1, "there is no advisory about", 6},
		{[]string{"--from", "testdata/gone"}, 1, "no such file", 6},
		{[]string{"--from", "testdata/osv", "--ecosystems", "Linux"}, 2, `"Linux" is none`, 6},
		{nil, 2, "usage: dependencies update", 6},
	} {
		code, out := runUpdate(t, append(c.args, "--to", to)...)
		if code != c.code || !strings.Contains(out, c.out) {
			t.Errorf("%v: exit code %d\n%s", c.args, code, out)
		}
		if m := inPlace(t, to); m.Advisories["npm"] != c.npm {
			t.Errorf("%v: %+v", c.args, m)
		}
	}
}

// A record that cannot be read is counted, and scans say that it is missing; one
// from the future makes nothing new.
func TestUpdateSkips(t *testing.T) {
	t.Parallel()
	from := writeFiles(t, map[string]string{
		"good.json": `{"id":"GHSA-1","modified":"2024-12-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"p"},"versions":["1.0.0"]}]}`,
		"bad.json":  `{"id":`,
		"late.json": `{"id":"GHSA-2","modified":"9999-12-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"q"},"versions":["1.0.0"]}]}`,
	})
	to := t.TempDir()
	code, out := runUpdate(t, "--from", from, "--to", to)
	m := inPlace(t, to)
	if code != 0 || !strings.Contains(out, `bad.json": unexpected end`) || m.Skipped != 1 || !m.Newest.Equal(time.Date(2024, 12, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("exit code %d, %+v\n%s", code, m, out)
	}
}
