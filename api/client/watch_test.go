package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
)

// stream answers with events, each "id name data".
func stream(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range events {
		id, rest, _ := strings.Cut(e, " ")
		name, data, _ := strings.Cut(rest, " ")
		if id != "-" {
			fmt.Fprintf(w, "id: %s\n", id)
		}
		fmt.Fprintf(w, ": a comment\nevent: %s\ndata: %s\n\n", name, data)
	}
}

// TestWatchResumes: a stream that breaks off is taken up behind the last id,
// after a pause that the host may choose, and what one does not know is skipped.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	var asked []string
	s := &sleeper{}
	c := serve(t, client.Options{SleepFunc: s.sleep, MinWait: time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Last-Event-ID"))
		if r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("Accept: %q", r.Header.Get("Accept"))
		}
		switch len(asked) {
		case 1:
			stream(w, `1-0 scan.snapshot {"id":"x","state":"running"}`, `2-0 job.started {"job_id":"j"}`)
			_, _ = io.WriteString(w, "retry: 40000\n\nid: 3-0\nevent: job.prog") // and dies
		case 2:
			w.Header().Set("Retry-After", "7")
			answer(w, 503, client.Problem{Title: "Temporarily unavailable"})
		case 3:
			stream(w, `- scan.snapshot {"id":"x","state":"running"}`, `3-0 a.novelty {}`)
		default:
			stream(w, `- events.reset {}`, `end scan.ended {"id":"x","state":"failed"}`, `9-9 job.started {}`)
		}
	})
	var got []string
	for e, err := range c.Watch(t.Context(), "x", client.WatchOptions{LastEventID: "0-7"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.ID+" "+string(e.Type))
	}
	if diff := cmp.Diff([]string{"1-0 scan.snapshot", "2-0 job.started", " scan.snapshot", " events.reset", "end scan.ended"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	p := "/base/scans/x/events "
	if diff := cmp.Diff([]string{p + "0-7", p + "2-0", p + "2-0", p + "3-0"}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(s.slept) != 3 || s.slept[0] < 20*time.Second || s.slept[0] > 40*time.Second || s.slept[1] != 7*time.Second {
		t.Errorf("paused %v, want some time up to the 40 s that the host wished for, then the 7 s", s.slept)
	}
}

// TestWatchEnds: with what the host says, and with what nobody can follow.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer http.HandlerFunc
		as     any
		is     error
		calls  int
	}{
		"nothing more": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil, nil, 1},
		"refused":      {func(w http.ResponseWriter, _ *http.Request) { answer(w, 401, client.Problem{Title: "Unauthorized"}) }, new(*client.Error), nil, 1},
		"not there":    {func(w http.ResponseWriter, _ *http.Request) { answer(w, 404, client.Problem{Title: "Not found"}) }, new(*client.Error), nil, 2},
		"no such route": {func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				http.NotFound(w, r)
				return
			}
			answer(w, 200, client.Scan{ID: "x"})
		}, nil, client.ErrNoEvents, 2},
		"no stream":    {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, client.Scan{ID: "x"}) }, nil, client.ErrNoEvents, 1},
		"always empty": {func(w http.ResponseWriter, _ *http.Request) { stream(w) }, new(*client.NetworkError), nil, 21},
		"nonsense":     {func(w http.ResponseWriter, _ *http.Request) { stream(w, `1-0 scan.snapshot {"id":7}`) }, new(*client.NetworkError), nil, 21},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls, s := 0, &sleeper{}
			c := serve(t, client.Options{SleepFunc: s.sleep}, func(w http.ResponseWriter, r *http.Request) {
				calls++
				tt.answer(w, r)
			})
			var last error
			for _, err := range c.Watch(t.Context(), "x", client.WatchOptions{}) {
				last = err
			}
			switch {
			case tt.as != nil && !errors.As(last, tt.as), tt.is != nil && !errors.Is(last, tt.is), tt.as == nil && tt.is == nil && last != nil:
				t.Errorf("it ended with %v", last)
			case calls != tt.calls:
				t.Errorf("%d requests, want %d", calls, tt.calls)
			}
		})
	}
}

// TestWaitPolls: where the stream fails, Wait asks.
func TestWaitPolls(t *testing.T) {
	t.Parallel()
	streams, s := 0, &sleeper{}
	c := serve(t, client.Options{SleepFunc: s.sleep}, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			answer(w, 200, client.Scan{ID: "x", State: client.StateSucceeded})
			return
		}
		streams++
		w.Header().Set("Retry-After", "5")
		answer(w, 429, client.Problem{Title: "Too many streams"})
	})
	got, err := c.Wait(t.Context(), "x", nil)
	if err != nil || got.State != client.StateSucceeded || streams != 1 || len(s.slept) > 0 {
		t.Errorf("wait = %+v, %v after %d streams and %v", got, err, streams, s.slept)
	}
}

// TestWaitFollows: the scan as it is known after each event, and what was given
// before is not changed.
func TestWaitFollows(t *testing.T) {
	t.Parallel()
	c := serve(t, client.Options{Retries: -1}, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			answer(w, 500, client.Problem{Title: "Internal error"}) // the events must do
			return
		}
		stream(w, `0 scan.snapshot {"id":"x","state":"queued","jobs":[{"id":"j","state":"queued"},{"id":"k","state":"queued"}]}`,
			`1-0 job.started {"job_id":"j","state":"running","attempt":1,"at":"2026-01-02T03:04:05Z"}`,
			`2-0 job.progress {"job_id":"j","state":"running","attempt":1,"progress":{"phase":"p","done":3}}`,
			`3-0 job.retry {"job_id":"j","state":"queued","attempt":1,"code":"plugin_crashed"}`,
			`4-0 job.ended {"job_id":"k","state":"failed","attempt":1,"code":"plugin_hung"}`,
			`- events.away {}`, `5-0 job.ended {"job_id":"another"}`, `6-0 scan.changed {}`, `7-0 scan.changed {"state":"running"}`,
			`end scan.ended {"id":"x","state":"partial"}`)
	})
	var seen []client.Scan
	got, err := c.Wait(t.Context(), "x", func(s client.Scan) { seen = append(seen, s) })
	if err != nil || got.State != client.StatePartial {
		t.Fatalf("wait = %+v, %v", got, err)
	}
	var lines []string
	for _, s := range seen {
		line := string(s.State)
		for _, j := range s.Jobs {
			line += " " + string(j.State)
			if j.Progress != nil {
				line += " " + j.Progress.Phase
			}
			if j.Error != nil {
				line += " " + j.Error.Code
			}
		}
		lines = append(lines, line)
	}
	want := []string{"queued queued queued", "running running queued", "running running p queued", "running queued p plugin_crashed queued",
		"running queued p plugin_crashed failed plugin_hung", "running queued p plugin_crashed failed plugin_hung", "partial"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// TestWatchStops: with the context's error, also while it waits.
func TestWatchStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		stream(w, `0 scan.snapshot {"id":"x","state":"queued"}`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	if got, err := c.Wait(ctx, "x", func(client.Scan) { cancel() }); !errors.Is(err, context.Canceled) || got.State != client.StateQueued {
		t.Errorf("wait = %+v, %v, want what it knew", got, err)
	}
}

func FuzzReadEvents(f *testing.F) {
	for _, s := range []string{
		"", "\n", ":\n\n", "data\n\n", "id: 1\nevent: scan.ended\ndata: {\"id\":\"x\"}\n\n", "retry: 99999999999999999999\n\n",
		"event: job.ended\r\ndata: {\"progress\":{}}\r\n\r\n", "id: a\x00b\ndata: x\ndata: y\n\n", "event: scans.snapshot\ndata: {\"scans\":[{}]}\n\n",
		"event: scan.changed\ndata: [\n\n", "event: scan.snapshot\ndata: null\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		events, err := client.ReadEvents(strings.NewReader(s))
		if err == nil {
			t.Error("a stream ended well, which none does")
		}
		again, _ := client.ReadEvents(io.MultiReader(strings.NewReader(s), strings.NewReader("\n\n")))
		if len(again) < len(events) {
			t.Errorf("%d events, with an empty line more %d", len(events), len(again))
		}
		for _, e := range events {
			if strings.ContainsAny(e.ID, "\r\n\x00") {
				t.Errorf("the id %q cannot be sent back", e.ID)
			}
		}
	})
}
