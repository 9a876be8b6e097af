package throughput_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/postgres"
	"github.com/securetaghq/securetag/host/sqlite"
	"github.com/securetaghq/securetag/internal/testserver"
	"github.com/securetaghq/securetag/sdk"
)

// asPlugin makes this binary the plugin.
const asPlugin = "SECURETAG_TEST_PLUGIN"

// count is what the plugin finds in each scan.
const count = 100_000

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		sdk.Main(scanner())
		return
	}
	os.Exit(m.Run())
}

// scanner finds things of the size that scanners of source code find.
func scanner() sdk.Scanner[struct{}] {
	return sdk.Scanner[struct{}]{
		Name: "many", Version: "1.0.0", Consumes: []sdk.Input{sdk.URL},
		Rules: []sdk.Rule{{ID: "many.rule", Title: "Dangerous call", Severity: sdk.High, CWE: []int{78}}},
		Scan: func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			for i := range count {
				out.Finding("many.rule", sdk.Finding{
					Message:  "The command is built from what a user may choose: quote it, or call the program without a shell.",
					At:       sdk.Location{Path: fmt.Sprintf("src/module%d/handler.go", i%1000), StartLine: i/1000 + 1, StartColumn: 5, EndLine: i/1000 + 1, EndColumn: 40},
					Snippet:  "exec.Command(\"sh\", \"-c\", request.FormValue(\"command\"))",
					Identity: []string{fmt.Sprint("call ", i)},
				})
			}
			return nil
		},
	}
}

// BenchmarkFindings is a scan with 100,000 findings: from the call of Run to the
// commit that ends the job, so that the process's start is in it too.
func BenchmarkFindings(b *testing.B) {
	b.Run("postgres", func(b *testing.B) {
		s, err := postgres.Open(b.Context(), postgres.Config{URL: testserver.Postgres(b)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		stream(b, s)
	})
	b.Run("sqlite", func(b *testing.B) {
		s, err := sqlite.Open(b.Context(), sqlite.Config{Path: filepath.Join(b.TempDir(), "securetag.db")})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		stream(b, s)
	})
	b.Run("nowhere", func(b *testing.B) { stream(b, nil) })
}

// stream reports findings a second. store nil: they are dropped, which is what
// the plugin, gRPC and the checks take.
func stream(b *testing.B, store host.Store) {
	e := serve(b)
	for b.Loop() {
		b.StopTimer()
		c := host.Claim{Lease: host.Lease{Job: host.NewJobID()}}
		if store != nil {
			c = claim(b, store)
		}
		b.StartTimer()
		k := &keep{store: store, lease: c.Lease}
		rep, err := e.Run(b.Context(), host.Task{
			Plugin: "many", Scan: c.Job.ScanID, Job: c.Lease.Job, Attempt: 1, URL: "https://example.com/", WorkDir: b.TempDir(),
		}, k)
		if err != nil || rep.State != host.StateSucceeded || k.kept != count {
			b.Fatalf("%d findings, %+v, %v", k.kept, rep, err)
		}
		if store == nil {
			continue
		}
		lost, err := store.Finish(b.Context(), []host.Outcome{{Lease: c.Lease, State: rep.State}})
		if err != nil || len(lost) > 0 {
			b.Fatalf("finish: lost %v, %v", lost, err)
		}
	}
	b.ReportMetric(float64(b.N)*count/b.Elapsed().Seconds(), "findings/s")
}

// claim accepts a scan and claims its job.
func claim(b *testing.B, s host.Store) host.Claim {
	tenant := host.NewTenantID()
	if err := s.CreateTenant(b.Context(), host.Tenant{ID: tenant, Name: string(tenant)}); err != nil {
		b.Fatal(err)
	}
	scan := host.Scan{ID: host.NewScanID(), TenantID: tenant, Type: "web", Input: host.Input{URL: "https://example.com/"},
		Jobs: []host.Job{{ID: host.NewJobID(), Plugin: "many", MaxAttempts: 1, Timeout: time.Hour}}}
	if _, err := s.Accept(b.Context(), []host.Scan{scan}, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Dispatch(b.Context(), host.DispatchQuery{Plugins: []string{"many"}, Window: 10, Horizon: time.Hour}); err != nil {
		b.Fatal(err)
	}
	claims, err := s.Claim(b.Context(), "bench", []host.JobID{scan.Jobs[0].ID}, time.Hour)
	if err != nil || len(claims) != 1 {
		b.Fatalf("%d claims, %v", len(claims), err)
	}
	return claims[0]
}

// keep stores findings as the dispatcher's sink does: each batch as it comes.
type keep struct {
	store host.Store
	lease host.Lease
	kept  int
}

func (*keep) Progress(host.Progress) {}

func (*keep) Note(host.Note) {}

func (k *keep) Findings(ctx context.Context, batch []host.Finding) error {
	k.kept += len(batch)
	if k.store == nil {
		return nil
	}
	return k.store.AddFindings(ctx, k.lease, batch)
}

func (*keep) Artifact(context.Context, host.Artifact, io.Reader) (int64, error) {
	return 0, host.ErrInvalid
}

// serve serves an executor until the benchmark ends.
func serve(b *testing.B) *executor.Executor {
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	e, err := executor.New(executor.Config{RunDir: dir, Plugins: []executor.Plugin{{
		Name: "many", Command: self, Env: map[string]string{asPlugin: "1"}, Dev: true,
		MaxFindings: count, MaxFindingsRule: count, MaxFindingsBytes: 1 << 30,
	}}}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return e
}
