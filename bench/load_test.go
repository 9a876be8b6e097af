package bench_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
	"github.com/securetaghq/securetag/internal/testserver"
)

// clients upload at the same time, each one scan after the other.
const clients = 32

// BenchmarkBurst sends b.N uploads of about 10 KB as fast as the host takes
// them and waits until the last is scanned. Run it with -benchtime 3000x.
//
//	accepted/s    uploads answered 202, from the first sent to the last answered
//	completed/s   scans ended, from the first sent to the last end
//	start-p50/99  from sending the request to the start of the scan, in ms
//	peak-MiB      the host's peak resident memory
func BenchmarkBurst(b *testing.B) {
	eachStore(b, func(b *testing.B, h *host) {
		archive := sample(b)
		h.burst(b, archive, 200) // warm up: connections, prepared statements, plugin process
		b.ResetTimer()
		runs, began, accepted := h.burst(b, archive, b.N)
		h.report(b, runs)
		var last time.Time
		for _, r := range runs {
			if r.finished.After(last) {
				last = r.finished
			}
		}
		b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
		b.ReportMetric(float64(b.N)/last.Sub(began).Seconds(), "completed/s")
		_, peak, err := testhost.Memory(h.process.PID())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		b.ReportMetric(0, "ns/op") // says nothing here
	})
}

// BenchmarkIdle sends at most 200 uploads to an idle host, 20 a second, so that
// none waits for another.
//
//	start-p50/99  from sending the request to the start of the scan, in ms
//	end-p50/99    from sending the request to the end of the scan, in ms
func BenchmarkIdle(b *testing.B) {
	eachStore(b, func(b *testing.B, h *host) {
		archive := sample(b)
		h.burst(b, archive, 200)
		n := min(b.N, 200)
		b.ResetTimer()
		runs := make([]run, n)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := range runs {
			<-tick.C
			runs[i] = h.upload(b, archive)
		}
		h.await(b, runs)
		h.report(b, runs)
		b.ReportMetric(0, "ns/op")
	})
}

// run is one scan as the driver saw it.
type run struct {
	id                      string
	sent, started, finished time.Time
}

type host struct {
	process *testhost.Process
	api     *client.Client
}

func eachStore(b *testing.B, f func(*testing.B, *host)) {
	for _, store := range []string{"embedded", "servers"} {
		b.Run(store, func(b *testing.B) { f(b, start(b, store == "servers")) })
	}
}

// start starts a host with the no-op plugin, on servers that sync to disk.
func start(b *testing.B, servers bool) *host {
	b.Helper()
	dir := b.TempDir()
	bin := func(name string) string { return filepath.Join(dir, name) }
	for name, pkg := range map[string]string{"securetag": "./cmd/securetag", "noop": "./plugins/noop"} {
		if err := testhost.Build("..", bin(name), pkg); err != nil {
			b.Fatal(err)
		}
	}
	var hcl strings.Builder
	fmt.Fprintf(&hcl, "data_dir = %q\nworker { slots = 50 }\n", filepath.Join(dir, "data"))
	fmt.Fprintf(&hcl, "plugin \"noop\" {\n command = %q\n isolation = \"shared\"\n}\nscan \"noop\" {\n plugins = [\"noop\"]\n}\n", bin("noop"))
	if servers {
		fmt.Fprintf(&hcl, "database { url = %q }\nredis { url = %q }\n", testserver.StartPostgres(b).URL(), "redis://"+testserver.StartRedis(b).Addr())
	}
	config := bin("securetag.hcl")
	if err := os.WriteFile(config, []byte(hcl.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	testhost.Command(b, bin("securetag"), "--config", config, "tenant", "create", "bench")
	key := strings.TrimSpace(testhost.Command(b, bin("securetag"), "--config", config, "key", "create", "--tenant", "bench"))
	p := &testhost.Process{Binary: bin("securetag"), Config: config, Listen: testhost.FreeAddress(b)}
	p.Start(b)
	b.Cleanup(func() { p.Stop(b) })
	api, err := client.New("http://"+p.Listen, key, client.Options{Retries: -1})
	if err != nil {
		b.Fatal(err)
	}
	return &host{process: p, api: api}
}

// burst uploads n archives with all clients and waits for the scans' ends.
func (h *host) burst(b *testing.B, archive []byte, n int) (runs []run, began time.Time, accepted time.Duration) {
	b.Helper()
	runs = make([]run, n)
	var (
		wg   sync.WaitGroup
		next = make(chan int, n)
	)
	for i := range n {
		next <- i
	}
	close(next)
	began = time.Now()
	for range clients {
		wg.Go(func() {
			for i := range next {
				runs[i] = h.upload(b, archive)
			}
		})
	}
	wg.Wait()
	accepted = time.Since(began)
	h.await(b, runs)
	return runs, began, accepted
}

func (h *host) upload(b *testing.B, archive []byte) run {
	sent := time.Now()
	s, err := h.api.Upload(b.Context(), bytes.NewReader(archive), client.UploadOptions{Filename: "bench.zip", Type: "noop"})
	if err != nil {
		b.Errorf("upload: %v", err)
	}
	return run{id: s.ID, sent: sent}
}

// await waits until every scan has ended and fills in when. It asks for the
// oldest still open, rarely, so that asking does not slow the host.
func (h *host) await(b *testing.B, runs []run) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	for i := range runs {
		for {
			s, err := h.api.Scan(ctx, runs[i].id)
			if err != nil {
				b.Fatalf("scan %s: %v", runs[i].id, err)
			}
			if s.State.Final() {
				if s.State != client.StateSucceeded {
					b.Fatalf("scan %s = %s, %+v", s.ID, s.State, s.Jobs)
				}
				runs[i].started, runs[i].finished = *s.StartedAt, *s.FinishedAt
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// report gives the latencies. Host and driver share a machine, and so a clock.
func (h *host) report(b *testing.B, runs []run) {
	for name, until := range map[string]func(run) time.Time{
		"start": func(r run) time.Time { return r.started },
		"end":   func(r run) time.Time { return r.finished },
	} {
		ms := make([]float64, len(runs))
		for i, r := range runs {
			ms[i] = float64(until(r).Sub(r.sent).Microseconds()) / 1000
		}
		slices.Sort(ms)
		b.ReportMetric(ms[len(ms)/2], name+"-p50-ms")
		b.ReportMetric(ms[len(ms)*99/100], name+"-p99-ms")
	}
}

// sample is a zip of about 10 KB that does not compress further.
func sample(b *testing.B) []byte {
	b.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("main.go")
	if err != nil {
		b.Fatal(err)
	}
	noise := make([]byte, 10<<10)
	rng := rand.NewChaCha8([32]byte{2})
	_, _ = rng.Read(noise) // never fails
	if _, err := f.Write(noise); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}
