package throughput_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host/postgres/postgrestest"
	"github.com/securetaghq/securetag/internal/testhost"
	"github.com/securetaghq/securetag/internal/testserver"
)

// readsConfig takes a directory, the address of Redis and the plugin's command.
const readsConfig = `
data_dir = %q
database { url = file("database.url") }
redis { url = "redis://%s" }
plugin "noop" {
  command = %q
  dev     = true
  config { findings = 20 }
}
scan "bench" {
  input   = "archive"
  plugins = ["noop"]
}
`

// BenchmarkReads asks a host over HTTP, at a steady rate whatever it answers, as
// clients do who poll: each time counts from when its request was due.
func BenchmarkReads(b *testing.B) {
	url, key := serveReads(b)
	scans := finished(b, url, key, 200)
	for _, bb := range []struct {
		name string
		rate int
		path func(i int) string
	}{
		{"scan", 500, func(i int) string { return "/scans/" + scans[i%len(scans)] }},
		{"project findings", 50, func(i int) string { return fmt.Sprintf("/projects/p%d/findings", 1+i%10) }},
		{"project findings of a severity", 50, func(i int) string { return fmt.Sprintf("/projects/p%d/findings?severity=high", 1+i%10) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer c.CloseIdleConnections()
			n := bb.rate * 20 // the first quarter warms up
			took := make([]time.Duration, n)
			var wg sync.WaitGroup
			began := time.Now()
			for i := range n {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(bb.rate))
				time.Sleep(time.Until(due))
				wg.Go(func() {
					if err := read(c, url+bb.path(i), key); err != nil {
						b.Error(err)
					}
					took[i] = time.Since(due)
				})
			}
			wg.Wait()
			took = took[n/4:]
			slices.Sort(took)
			for _, q := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*q/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", q))
			}
			b.ReportMetric(float64(n)/time.Since(began).Seconds(), "requests/s")
			b.ReportMetric(0, "ns/op") // of all of it, which says nothing
		})
	}
}

func read(c *http.Client, url, key string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", key)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(body) < 100) {
		err = fmt.Errorf("GET %s: %d %.200s", url, resp.StatusCode, body)
	}
	return err
}

// serveReads starts a host on PostgreSQL and Redis, with 1,000,000 findings in ten
// projects of the tenant whose key it returns.
func serveReads(b *testing.B) (url, key string) {
	dir := b.TempDir()
	binary, noop := filepath.Join(dir, "securetag"), filepath.Join(dir, "noop")
	for out, pkg := range map[string]string{binary: "./cmd/securetag", noop: "./plugins/noop"} {
		if err := testhost.Build("../..", out, pkg); err != nil {
			b.Fatal(err)
		}
	}
	db, config := testserver.Postgres(b), filepath.Join(dir, "securetag.hcl")
	for name, text := range map[string]string{
		"securetag.hcl": fmt.Sprintf(readsConfig, filepath.Join(dir, "data"), testserver.Redis(b), noop), "database.url": db,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	testhost.Command(b, binary, "--config", config, "tenant", "create", "acme")
	key = strings.TrimSpace(testhost.Command(b, binary, "--config", config, "key", "create", "--tenant", "acme"))
	conn, err := pgx.Connect(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	var tenant string
	if err := conn.QueryRow(b.Context(), `select id::text from tenants where name = 'acme'`).Scan(&tenant); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(b.Context(), postgrestest.Projects(tenant, 10, 100_000)); err != nil {
		b.Fatal(err)
	}
	p := &testhost.Process{Binary: binary, Config: config, Listen: testhost.FreeAddress(b)}
	p.Start(b)
	b.Cleanup(func() { p.Stop(b) })
	return "http://" + p.Listen, key
}

// finished runs so many scans, and returns their ids.
func finished(b *testing.B, url, key string, n int) (ids []string) {
	c, err := client.New(url, key, client.Options{MinWait: 20 * time.Millisecond, MaxWait: 200 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	if f, err := w.Create("main.go"); err != nil {
		b.Fatal(err)
	} else if _, err := f.Write([]byte("package main\n")); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	for range n {
		s, err := c.Upload(b.Context(), bytes.NewReader(archive.Bytes()), client.UploadOptions{Filename: "a.zip", Type: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	for _, id := range ids {
		s, err := c.Wait(b.Context(), id, nil)
		if err != nil || s.State != client.StateSucceeded {
			b.Fatal(s.State, err)
		}
	}
	return ids
}
