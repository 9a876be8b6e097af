package sdk_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// The test binary is also the plugin, and a host that starts one: see serve_test.go.
func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "plugin":
		sdk.Main(todos())
	case "host":
		beHost()
	case "tool":
		beTool()
	case "trap":
		sdk.Main(trap())
	default:
		goleak.VerifyTestMain(m)
	}
}

// scanner is a well-formed scanner around scan.
func scanner[C any](scan func(context.Context, *C, *sdk.Target, *sdk.Out) error) sdk.Scanner[C] {
	return sdk.Scanner[C]{
		Name: "test", Version: "1.0.0", Consumes: []sdk.Input{sdk.Tree, sdk.URL},
		Rules: []sdk.Rule{{ID: "r1", Title: "Rule one", Severity: sdk.High}},
		Scan:  scan,
	}
}

func newServer[C any](t testing.TB, s sdk.Scanner[C]) *sdk.Server {
	t.Helper()
	srv, err := sdk.NewServer(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// dial serves srv through go-plugin's own gRPC server and connects to it.
func dial(t testing.TB, srv *sdk.Server) pluginv1.ScannerClient {
	t.Helper()
	client, _ := plugin.TestPluginGRPCConn(t, false, wire.Plugins(srv))
	t.Cleanup(func() { _ = client.Close() }) // shuts the server down too
	raw, err := client.Dispense(wire.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	return raw.(pluginv1.ScannerClient)
}

func configure(t testing.TB, c pluginv1.ScannerClient, config string) {
	t.Helper()
	resp, err := c.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: []byte(config)})
	if err != nil || len(resp.Diagnostics) > 0 {
		t.Fatalf("configure: %v, %v", err, resp.GetDiagnostics())
	}
}

func request(id, root string) *pluginv1.ScanRequest {
	return &pluginv1.ScanRequest{RunId: id, Attempt: 1, Target: &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: root}}}
}

// collect reads a stream to its end.
func collect(stream grpc.ServerStreamingClient[pluginv1.ScanEvent]) (*recorder, error) {
	r := &recorder{}
	for {
		ev, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		_ = r.Send(ev)
	}
}

// recorder keeps events; it also stands in for the stream where a test needs
// the fake clock, which gRPC's own goroutines do not live under.
type recorder struct {
	grpc.ServerStream
	ctx  context.Context
	hook func(*pluginv1.ScanEvent)

	mu     sync.Mutex
	events []*pluginv1.ScanEvent
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Send(ev *pluginv1.ScanEvent) error {
	if r.hook != nil {
		r.hook(ev)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
	return nil
}

func (r *recorder) all() []*pluginv1.ScanEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) findings() (all []*pluginv1.Finding, batches int) {
	for _, ev := range r.all() {
		if f := ev.GetFindings(); f != nil {
			all = append(all, f.Findings...)
			batches++
		}
	}
	return all, batches
}

func (r *recorder) notes() (all []*pluginv1.Diagnostic) {
	for _, ev := range r.all() {
		if d := ev.GetDiagnostic(); d != nil {
			all = append(all, d)
		}
	}
	return all
}

// completed is the last event, and the only one of its kind.
func (r *recorder) completed(t testing.TB) *pluginv1.Completed {
	t.Helper()
	n := 0
	events := r.all()
	for _, ev := range events {
		if ev.GetCompleted() != nil {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d Completed events, want 1", n)
	}
	last := events[len(events)-1].GetCompleted()
	if last == nil {
		t.Fatal("Completed is not last")
	}
	return last
}

// tree writes files (path: content) under a temporary directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func number(i int) string { return strconv.Itoa(i) }
