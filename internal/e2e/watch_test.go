package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/internal/testhost"
)

var readers = flag.Int("readers", 100, "how many clients watch the scan whose host is killed; 500 in full")

// TestWatchedHostKilled: clients watch one scan at one host, which is killed in
// the middle of it. All go on at another, and each has seen each event once, in
// order, and the same.
func TestWatchedHostKilled(t *testing.T) {
	t.Parallel()
	const before, meanwhile, after = 60, 60, 60
	c := start(t, place{"two hosts", true, 2}, settings{plainBinary: true})
	events := c.events(t)
	c.hosts[1].Stop(t) // so that the one that will be killed runs the job, too
	scan := c.upload(0, "gate", sample(t), "")
	c.running(scan.ID)
	c.hosts[1].Start(t)
	feed := host.Feed{Scan: host.ScanID(scan.ID)}
	told := 0
	tell := func(n int) {
		for range n {
			told++
			e := host.Event{Scan: feed.Scan, Kind: host.EventProgress, Job: host.JobID(scan.Jobs[0].ID), Plugin: "gate", Attempt: 1,
				State: host.StateRunning, Findings: told, Progress: host.Progress{Message: fmt.Sprint("number ", told)}}
			if err := events.Publish(t.Context(), []host.Event{e}); err != nil {
				t.Error(err)
			}
		}
	}
	idle := use(t, c.hosts[0])
	crowd := c.watch(scan.ID, *readers)
	crowd.await("its snapshot", func(seen []client.Event) bool { return len(seen) > 0 })
	tell(before)
	crowd.await("what came first", sawNumber(before))
	busy := use(t, c.hosts[0])
	t.Logf("%d readers and %d events cost the host %d KiB and %v of CPU", *readers, before, (busy.bytes-idle.bytes)>>10, busy.cpu-idle.cpu)

	tell(meanwhile / 2)
	c.hosts[0].Kill(t)
	tell(meanwhile / 2)
	crowd.await("what came meanwhile", sawNumber(before+meanwhile))
	c.until(scan.ID, "running at the other host", func(s client.Scan) bool { return s.State == client.StateRunning && s.Jobs[0].Attempt == 2 })
	tell(after)
	c.open()
	crowd.done.Wait()

	want, err := events.Read(t.Context(), feed, "", host.MaxEvents, 0)
	if err != nil {
		t.Fatalf("read what the server has kept: %v", err)
	}
	if ends := want[len(want)-1]; ends.Kind != host.EventEnded || ends.State != host.StateSucceeded {
		t.Errorf("the last event is %+v, want the job's end", ends)
	}
	crowd.check(want)
}

func sawNumber(n int) func([]client.Event) bool {
	return func(seen []client.Event) bool {
		for _, e := range seen[max(0, len(seen)-5):] {
			if e.Job != nil && e.Job.Findings >= n {
				return true
			}
		}
		return false
	}
}

// events is one more host's view of the events.
func (c *cluster) events(t *testing.T) host.Events {
	t.Helper()
	one, two, err := redisstream.Connect(redisstream.Server{URL: "redis://" + c.redis.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close(); two.Close() })
	events, err := redisstream.NewEvents(one, two, redisstream.EventsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// crowd is clients that watch the same scan.
type crowd struct {
	t    *testing.T
	done sync.WaitGroup
	mu   sync.Mutex
	seen [][]client.Event // by client
	news chan struct{}
}

// watch has n clients watch a scan, through a proxy that goes to the first host
// that is there.
func (c *cluster) watch(id string, n int) *crowd {
	w := &crowd{t: c.t, seen: make([][]client.Event, n), news: make(chan struct{}, 1)}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		for _, h := range c.hosts {
			var d net.Dialer
			if conn, err = d.DialContext(ctx, network, h.Listen); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}}
	c.t.Cleanup(transport.CloseIdleConnections)
	api, err := client.New("http://all.hosts.example", c.keys["a"], client.Options{
		HTTPClient: &http.Client{Transport: transport}, MinWait: 20 * time.Millisecond, MaxWait: time.Second, IgnoreRetryAfter: true,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range n {
		w.done.Go(func() {
			for e, err := range api.Watch(c.t.Context(), id, client.WatchOptions{}) {
				if err != nil {
					c.t.Errorf("reader %d: %v", i, err)
					return
				}
				w.note(i, e)
			}
		})
	}
	return w
}

func (w *crowd) note(i int, e client.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[i] = append(w.seen[i], e)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// await waits until all have seen something.
func (w *crowd) await(what string, ok func([]client.Event) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), 90*time.Second, errors.New("not within 90 s"))
	defer cancel()
	for i := 0; i < len(w.seen); {
		w.mu.Lock()
		saw := ok(w.seen[i])
		w.mu.Unlock()
		if saw {
			i++
			continue
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			w.t.Fatalf("reader %d never saw %s: %v", i, what, context.Cause(ctx))
		}
	}
}

// check holds what each has seen against what the server of events has: all
// behind the reader's snapshot, and the end.
func (w *crowd) check(events []host.Event) {
	w.t.Helper()
	line := func(id, kind, message string, attempt, findings int) string {
		return fmt.Sprintf("%s %s %d %d %s", id, kind, attempt, findings, message)
	}
	var all []string
	at := map[string]int{"0": 0}
	for i, e := range events {
		all = append(all, line(string(e.ID), "job."+string(e.Kind), e.Progress.Message, e.Attempt, e.Findings))
		at[string(e.ID)] = i + 1
	}
	for i, seen := range w.seen {
		first, known := at[seen[0].ID]
		last := seen[len(seen)-1]
		if !known || seen[0].Type != client.EventSnapshot || last.Type != client.EventEnded || last.Scan.State != client.StateSucceeded {
			w.t.Fatalf("reader %d began with %+v and ended with %+v", i, seen[0], last)
		}
		var got []string
		for _, e := range seen[1 : len(seen)-1] {
			if e.Type == client.EventSnapshot && e.ID == "" { // of the store, when it knew more
				continue
			}
			if e.Job == nil {
				got = append(got, e.ID+" "+string(e.Type))
				continue
			}
			message := ""
			if e.Job.Progress != nil {
				message = e.Job.Progress.Message
			}
			got = append(got, line(e.ID, string(e.Type), message, e.Job.Attempt, e.Job.Findings))
		}
		if diff := cmp.Diff(all[first:], got); diff != "" {
			w.t.Fatalf("reader %d (-events +seen):\n%s", i, diff)
		}
	}
}

// usage is what a process has used.
type usage struct {
	bytes int64
	cpu   time.Duration
}

func use(t *testing.T, p *testhost.Process) (u usage) {
	t.Helper()
	u.bytes, _, _ = testhost.Memory(p.PID())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest) // from the third on, proc(5)
	for _, i := range []int{11, 12} {
		ticks, _ := strconv.Atoi(fields[i])
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return u
}
