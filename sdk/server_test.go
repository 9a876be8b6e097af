package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func TestScanEnds(t *testing.T) {
	t.Parallel()
	type none struct{}
	tests := map[string]struct {
		scan      func(context.Context, *none, *sdk.Target, *sdk.Out) error
		status    pluginv1.Completed_Status
		reason    string
		retryable bool
		findings  uint64
	}{
		"nothing found": {
			scan:   func(context.Context, *none, *sdk.Target, *sdk.Out) error { return nil },
			status: pluginv1.Completed_STATUS_SUCCEEDED,
		},
		"many findings": {
			scan: func(_ context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				for i := range 1234 {
					out.Finding("r1", sdk.Finding{Message: number(i)})
				}
				return nil
			},
			status: pluginv1.Completed_STATUS_SUCCEEDED, findings: 1234,
		},
		"partial": {
			scan: func(_ context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				out.Partial("one\nthing")
				out.Partial("one thing")
				out.Partial("another")
				return nil
			},
			status: pluginv1.Completed_STATUS_PARTIAL, reason: "one thing; another",
		},
		"error": {
			scan:   func(context.Context, *none, *sdk.Target, *sdk.Out) error { return errors.New("no\nluck") },
			status: pluginv1.Completed_STATUS_FAILED, reason: "no luck",
		},
		"retryable": {
			scan: func(context.Context, *none, *sdk.Target, *sdk.Out) error {
				return fmt.Errorf("look up: %w", sdk.Retryable(errors.New("busy")))
			},
			status: pluginv1.Completed_STATUS_FAILED, reason: "look up: busy", retryable: true,
		},
		"not applicable": {
			scan:   func(context.Context, *none, *sdk.Target, *sdk.Out) error { return sdk.NotApplicable("no Go files") },
			status: pluginv1.Completed_STATUS_NOT_APPLICABLE, reason: "no Go files",
		},
		"not applicable, as far as it looked": {
			scan: func(_ context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				out.Partial("some files could not be read")
				return sdk.NotApplicable("no Go files")
			},
			status: pluginv1.Completed_STATUS_PARTIAL, reason: "no Go files; some files could not be read",
		},
		"not applicable, with findings": {
			scan: func(_ context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				out.Finding("r1", sdk.Finding{})
				return sdk.NotApplicable("no Go files")
			},
			status: pluginv1.Completed_STATUS_FAILED, findings: 1,
			reason: "the scanner reported 1 findings and says that there is nothing it looks at: no Go files",
		},
		"panic": {
			scan: func(_ context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				out.Finding("r1", sdk.Finding{})
				panic("index\nout of mind")
			},
			status: pluginv1.Completed_STATUS_FAILED, reason: "the scanner panicked: index out of mind", findings: 1,
		},
		"goexit": {
			scan:   func(context.Context, *none, *sdk.Target, *sdk.Out) error { runtime.Goexit(); return nil },
			status: pluginv1.Completed_STATUS_FAILED, reason: "the scanner ended its goroutine with runtime.Goexit",
		},
		"undeclared rule": {
			scan: func(ctx context.Context, _ *none, _ *sdk.Target, out *sdk.Out) error {
				out.Finding("r2", sdk.Finding{})
				<-ctx.Done() // the scan need not go on
				return nil
			},
			status: pluginv1.Completed_STATUS_FAILED,
			reason: `the scanner reported a finding by the rule "r2", which it does not declare`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, newServer(t, scanner(tt.scan)))
			configure(t, c, "")
			stream, err := c.Scan(t.Context(), request("a", t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			r, err := collect(stream)
			if err != nil {
				t.Fatal(err)
			}
			got := r.completed(t)
			if got.Status != tt.status || got.Reason != tt.reason || got.Retryable != tt.retryable || got.Findings != tt.findings {
				t.Errorf("completed %v, want %v %q retryable=%v findings=%d", got, tt.status, tt.reason, tt.retryable, tt.findings)
			}
			if all, _ := r.findings(); uint64(len(all)) != tt.findings {
				t.Errorf("%d findings came, %d were announced", len(all), tt.findings)
			}
		})
	}
}

func TestScanRefused(t *testing.T) {
	t.Parallel()
	s := scanner(func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error {
		return sdk.Refuse(errors.New("cannot scan that"))
	})
	s.Consumes = []sdk.Input{sdk.Tree}
	s.Options = struct {
		Depth int `min:"1" max:"3"`
	}{}
	srv := newServer(t, s)
	c := dial(t, srv)
	scan := func(req *pluginv1.ScanRequest) error {
		stream, err := c.Scan(t.Context(), req)
		if err != nil {
			return err
		}
		_, err = collect(stream)
		return err
	}
	check := func(name string, err error, code codes.Code, text string) {
		t.Helper()
		if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), text) {
			t.Errorf("%s: %v, want %v with %q", name, err, code, text)
		}
	}
	check("before configure", scan(request("a", t.TempDir())), codes.FailedPrecondition, "not configured")
	configure(t, c, "{}")
	check("refused by the author", scan(request("a", t.TempDir())), codes.InvalidArgument, "cannot scan that")
	check("no run id", scan(request("", t.TempDir())), codes.InvalidArgument, "run_id")
	check("relative root", scan(request("a", "x")), codes.InvalidArgument, "absolute")
	check("missing root", scan(request("a", "/does/not/exist")), codes.InvalidArgument, "no such file")
	req := request("a", t.TempDir())
	req.OptionsJson = []byte(`{"depth": 4, "width": 1}`)
	check("bad options", scan(req), codes.InvalidArgument, `"width" "depth" must be at most 3`)
	req = request("a", "")
	req.Target = &pluginv1.Target{Kind: &pluginv1.Target_Url{Url: "https://example.com"}}
	check("wrong kind", scan(req), codes.InvalidArgument, "takes no URL")
	if _, err := c.Drain(t.Context(), &pluginv1.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	check("draining", scan(request("a", t.TempDir())), codes.Unavailable, "draining")
}

func TestCancelKeepsFindings(t *testing.T) {
	t.Parallel()
	c := dial(t, newServer(t, scanner(func(ctx context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
		for i := range 60 {
			out.Finding("r1", sdk.Finding{Message: number(i)})
		}
		<-ctx.Done()
		out.Finding("r1", sdk.Finding{Message: "last"})
		return context.Cause(ctx)
	})))
	configure(t, c, "{}")
	stream, err := c.Scan(t.Context(), request("a", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it runs
		t.Fatal(err)
	}
	if resp, err := c.Cancel(t.Context(), &pluginv1.CancelRequest{RunId: "b"}); err != nil || resp.Known {
		t.Errorf("cancel of an unknown run: %v, %v", resp, err)
	}
	for range 2 { // the second changes nothing
		resp, err := c.Cancel(t.Context(), &pluginv1.CancelRequest{RunId: "a", Reason: "user said so", Grace: durationpb.New(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp // the run may have ended by the second time
	}
	r, err := collect(stream)
	if err != nil {
		t.Fatal(err)
	}
	got := r.completed(t)
	if got.Status != pluginv1.Completed_STATUS_CANCELLED || got.Reason != "cancelled: user said so" || got.Findings != 61 {
		t.Errorf("completed %v", got)
	}
}

func TestStreamGone(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	srv := newServer(t, scanner(func(ctx context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
		<-ctx.Done()
		for range 1000 { // must not block: nobody reads
			out.Finding("r1", sdk.Finding{})
		}
		ended <- context.Cause(ctx)
		return nil
	}))
	c := dial(t, srv)
	configure(t, c, "{}")
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := c.Scan(ctx, request("a", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the scan's context ended without a cause")
	}
	if n := srv.Wait(t.Context()); n != 0 {
		t.Errorf("%d scans still run", n)
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	s := scanner(func(ctx context.Context, _ *struct{}, _ *sdk.Target, _ *sdk.Out) error {
		<-ctx.Done()
		return nil
	})
	s.MaxConcurrentScans = 2
	c := dial(t, newServer(t, s))
	configure(t, c, "{}")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := func(id string) error {
		stream, err := c.Scan(ctx, request(id, t.TempDir()))
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	if err := start("a"); err != nil {
		t.Fatal(err)
	}
	if err := start("a"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("the same run twice: %v", err)
	}
	if err := start("b"); err != nil {
		t.Fatal(err)
	}
	if err := start("c"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third scan: %v", err)
	}
	if resp, err := c.Drain(t.Context(), &pluginv1.DrainRequest{}); err != nil || resp.ActiveScans != 2 {
		t.Errorf("drain without grace: %v, %v", resp, err)
	}
	cancel()
	if resp, err := c.Drain(t.Context(), &pluginv1.DrainRequest{Grace: durationpb.New(time.Hour)}); err != nil || resp.ActiveScans != 0 {
		t.Errorf("drain: %v, %v", resp, err)
	}
}

// The next scan of a host that waits for Completed is never refused.
func TestSlotIsFreeAtCompleted(t *testing.T) {
	t.Parallel()
	c := dial(t, newServer(t, scanner(func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error { return nil })))
	configure(t, c, "{}")
	root := t.TempDir()
	for i := range 200 {
		stream, err := c.Scan(t.Context(), request(number(i), root))
		if err != nil {
			t.Fatal(err)
		}
		for {
			ev, err := stream.Recv()
			if err != nil {
				t.Fatalf("scan %d: %v", i, err)
			}
			if ev.GetCompleted() != nil {
				break
			}
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	c := dial(t, newServer(t, scanner(func(ctx context.Context, _ *struct{}, _ *sdk.Target, _ *sdk.Out) error {
		<-ctx.Done()
		return nil
	})))
	configure(t, c, "{}")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	health, err := c.Health(ctx, &pluginv1.HealthRequest{Interval: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	await := func(state pluginv1.HealthUpdate_State, active uint32) {
		t.Helper()
		for {
			u, err := health.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if u.State == state && u.ActiveScans == active {
				return
			}
		}
	}
	await(pluginv1.HealthUpdate_STATE_HEALTHY, 0)
	if _, err := c.Scan(ctx, request("a", t.TempDir())); err != nil {
		t.Fatal(err)
	}
	await(pluginv1.HealthUpdate_STATE_HEALTHY, 1)
	if _, err := c.Drain(t.Context(), &pluginv1.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	await(pluginv1.HealthUpdate_STATE_DEGRADED, 1)
}

// What the author says of the scanner gets to the host, a panic as well.
func TestHealthOfAuthor(t *testing.T) {
	t.Parallel()
	old := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		health func(*struct{}) sdk.Health
		state  pluginv1.HealthUpdate_State
		text   string
		data   bool
	}{
		"well":     {func(*struct{}) sdk.Health { return sdk.Health{DataUpdated: old} }, pluginv1.HealthUpdate_STATE_HEALTHY, "", true},
		"degraded": {func(*struct{}) sdk.Health { return sdk.Health{Degraded: "old\ndata"} }, pluginv1.HealthUpdate_STATE_DEGRADED, "old data", false},
		"panic":    {func(*struct{}) sdk.Health { panic("no") }, pluginv1.HealthUpdate_STATE_DEGRADED, "asking how it is panicked: no", false},
	} {
		s := scanner(func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error { return nil })
		s.Health = c.health
		client := dial(t, newServer(t, s))
		configure(t, client, "{}")
		health, err := client.Health(t.Context(), &pluginv1.HealthRequest{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := health.Recv()
		if err != nil || u.State != c.state || u.Description != c.text || (u.DataUpdatedAt != nil) != c.data || c.data && !u.DataUpdatedAt.AsTime().Equal(old) {
			t.Errorf("%s: %v, %v", name, u, err)
		}
	}
}
