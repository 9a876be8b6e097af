package sdk_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// record runs one scan of nothing against the recorder, under the caller's clock.
func record(t *testing.T, r *recorder, limits *pluginv1.Limits, scan func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error) *sdk.Server {
	t.Helper()
	srv := newServer(t, scanner(scan))
	if _, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{}); err != nil {
		t.Fatal(err)
	}
	r.ctx = t.Context()
	req := &pluginv1.ScanRequest{RunId: "a", Limits: limits,
		Target: &pluginv1.Target{Kind: &pluginv1.Target_Url{Url: "https://example.com"}}}
	if r.hook == nil {
		if err := srv.Scan(req, r); err != nil {
			t.Error(err)
		}
		return srv
	}
	go func() {
		if err := srv.Scan(req, r); err != nil {
			t.Error(err)
		}
	}()
	return srv
}

func TestFindingsAreSentByCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		record(t, r, nil, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			for i := range 120 { // in no time at all
				out.Finding("r1", sdk.Finding{Message: number(i)})
			}
			return nil
		})
		all, batches := r.findings()
		if len(all) != 120 || batches != 3 {
			t.Errorf("%d findings in %d messages, want 120 in 3", len(all), batches)
		}
		for i, f := range all {
			if f.Message != number(i) {
				t.Fatalf("finding %d is %q: out of order", i, f.Message)
			}
		}
	})
}

func TestFindingsAreSentByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		r := &recorder{}
		r.hook = func(ev *pluginv1.ScanEvent) {
			if ev.GetFindings() != nil {
				at = append(at, time.Since(start))
			}
		}
		srv := record(t, r, nil, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			out.Finding("r1", sdk.Finding{})
			time.Sleep(time.Second)
			out.Finding("r1", sdk.Finding{})
			time.Sleep(time.Second)
			return nil
		})
		synctest.Wait()
		srv.Wait(t.Context())
		if len(at) != 2 || at[0] > 200*time.Millisecond || at[1] > 1200*time.Millisecond {
			t.Errorf("findings were sent at %v, want within 200ms of 0s and 1s", at)
		}
	})
}

func TestMessagesStaySmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		long := strings.Repeat("\xffä\x00", 1<<13)
		record(t, r, nil, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			for range 60 {
				f := sdk.Finding{Message: long, Snippet: long, At: sdk.Location{Path: long, URL: long, StartLine: -1}, Properties: map[string]string{}}
				for i := range 40 {
					f.Identity = append(f.Identity, long)
					f.Properties[number(i)+long] = long
				}
				out.Finding("r1", f)
				out.Note(sdk.Note{Summary: long, Detail: long, Path: long})
				out.Progress(sdk.Progress{Phase: long, Message: long})
			}
			out.Partial(long)
			return nil
		})
		for _, ev := range r.all() {
			b, err := proto.Marshal(ev) // also fails on what is not UTF-8
			if err != nil || len(b) > wire.MaxEvent {
				t.Fatalf("%T of %d bytes: %v", ev.Event, len(b), err)
			}
		}
		if all, _ := r.findings(); len(all) != 60 || all[0].Location.StartLine != 0 || strings.Contains(all[0].Message, "\x00") {
			t.Errorf("%d findings, the first %.200v", len(all), all[0])
		}
	})
}

func TestSignOfLife(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		limits *pluginv1.Limits
		most   time.Duration
	}{
		"by itself":         {nil, 2250 * time.Millisecond},
		"as the host wants": {&pluginv1.Limits{MaxSilence: durationpb.New(3 * time.Second)}, 1250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				last, longest := time.Now(), time.Duration(0)
				r := &recorder{hook: func(*pluginv1.ScanEvent) {
					longest, last = max(longest, time.Since(last)), time.Now()
				}}
				srv := record(t, r, tt.limits, func(context.Context, *struct{}, *sdk.Target, *sdk.Out) error {
					time.Sleep(time.Minute) // says nothing, does not even look at ctx
					return nil
				})
				synctest.Wait()
				srv.Wait(t.Context())
				if longest > tt.most {
					t.Errorf("silent for %v, want at most %v", longest, tt.most)
				}
			})
		})
	}
}

func TestProgressIsThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		record(t, r, nil, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			for i := range 10_000 {
				out.Progress(sdk.Progress{Phase: "p", Done: uint64(i)})
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		n := 0
		var done uint64
		for _, ev := range r.all() {
			if p := ev.GetProgress(); p != nil {
				n++
				if p.Done < done {
					t.Errorf("progress went from %d back to %d", done, p.Done)
				}
				done = p.Done
			}
		}
		if n < 38 || n > 42 {
			t.Errorf("%d progress messages in 10 s, want about 40", n)
		}
	})
}

func TestOverdueCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{hook: func(*pluginv1.ScanEvent) {}}
		free := make(chan struct{})
		srv := record(t, r, nil, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			out.Finding("r1", sdk.Finding{})
			<-free // deaf to ctx
			out.Finding("r1", sdk.Finding{})
			return nil
		})
		synctest.Wait()
		if _, err := srv.Cancel(t.Context(), &pluginv1.CancelRequest{RunId: "a", Grace: durationpb.New(3 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, ev := range r.all() {
			if ev.GetCompleted() != nil {
				t.Error("completed within the grace")
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c := r.completed(t)
		if c.Status != pluginv1.Completed_STATUS_CANCELLED || c.Findings != 1 || !strings.Contains(c.Reason, "did not stop in time") {
			t.Errorf("completed %v", c)
		}
		req := &pluginv1.ScanRequest{RunId: "b", Target: &pluginv1.Target{Kind: &pluginv1.Target_Url{Url: "https://example.com"}}}
		if err := srv.Scan(req, r); err == nil {
			t.Error("the deaf scan's slot was given away")
		}
		close(free)
		srv.Wait(t.Context())
	})
}

func TestMaxFindings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		record(t, r, &pluginv1.Limits{MaxFindings: 70}, func(_ context.Context, _ *struct{}, _ *sdk.Target, out *sdk.Out) error {
			for range 100 {
				out.Finding("r1", sdk.Finding{})
			}
			return nil
		})
		c := r.completed(t)
		if c.Findings != 70 || c.Status != pluginv1.Completed_STATUS_PARTIAL {
			t.Errorf("completed %v", c)
		}
	})
}
