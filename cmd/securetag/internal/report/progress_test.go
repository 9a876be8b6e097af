package report_test

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export/exporttest"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

// story shows a whole upload and scan, in many small steps.
func story(p *report.Progress) {
	for i := int64(0); i <= 1000; i++ {
		p.Upload(i*4096, 1000*4096)
		time.Sleep(5 * time.Millisecond)
	}
	s := exporttest.Clean()
	job := &s.Jobs[0]
	show := func(scan, state client.State) {
		s.State, job.State = scan, state
		p.Scan(s)
		time.Sleep(50 * time.Millisecond)
	}
	job.Attempt = 0
	show(client.StateQueued, client.StateQueued)
	show(client.StateQueued, client.StateQueued)
	job.Attempt = 1
	show(client.StateRunning, client.StateRunning)
	job.Progress = &client.Progress{Phase: "walking", Done: 3, Unit: "files"}
	show(client.StateRunning, client.StateRunning)
	job.Error = &client.JobError{Code: "plugin_crashed", Message: "killed by signal 9", Attempt: 1}
	show(client.StateRunning, client.StateQueued)
	job.Attempt = 2
	for i := int64(0); i <= 40; i++ {
		job.Progress = &client.Progress{Phase: "matching", Done: i, Total: 40, Unit: "files"}
		show(client.StateRunning, client.StateRunning)
	}
	job.Error, job.Counts = nil, client.Counts{High: 2}
	show(client.StateSucceeded, client.StateSucceeded)
	p.Stop()
	p.Stop()
	p.Upload(1, 2)
	p.Scan(client.Scan{ID: "after the end"})
}

func TestProgressLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		story(report.NewProgress(report.ProgressConfig{Out: &b}))
		exporttest.Golden(t, "progress.txt", b.Bytes())
	})
}

func TestProgressQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		story(report.NewProgress(report.ProgressConfig{Out: &b, Live: true, Quiet: true}))
		if b.Len() > 0 {
			t.Errorf("got %q", b.String())
		}
	})
}

var escape = regexp.MustCompile("\x1b\\[[0-9]*K")

// TestProgressBar plays the output back: what stays on the screen is the lines,
// and no drawing ever reaches the last column.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	for _, cells := range []int{0, 1, 10, 23, 24, 30, 40, 80, 300} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			story(report.NewProgress(report.ProgressConfig{Out: &b, Live: true, WidthFunc: func() int { return cells }}))
			var kept []string
			bars := 0
			for line := range strings.SplitSeq(b.String(), "\n") {
				shown := ""
				for _, drawing := range strings.Split(line, "\r") {
					drawing = escape.ReplaceAllString(drawing, "")
					if w := uniseg.StringWidth(drawing); w > max(1, cells-1) {
						t.Errorf("%d cells on a terminal of %d: %q", w, cells, drawing)
					}
					if strings.Contains(drawing, "%") && strings.Contains(drawing, "|") {
						bars++
					}
					shown = drawing
				}
				kept = append(kept, shown)
			}
			if (bars > 0) != (cells >= 24) {
				t.Errorf("%d bars on %d cells", bars, cells)
			}
			if bars > 200 {
				t.Errorf("drawn %d times in 7 s", bars)
			}
			want := []string{
				"uploaded 3.9 MiB", "scan 0195f0a0-0000-7000-8000-000000000001 queued", "scan 0195f0a0-0000-7000-8000-000000000001 running",
				"secrets: running", "secrets: trying again after attempt 1 of 3: killed by signal 9", "secrets: running, attempt 2 of 3",
				"secrets: succeeded, 2 findings", "scan 0195f0a0-0000-7000-8000-000000000001 succeeded", "",
			}
			if cells >= 80 {
				if diff := cmp.Diff(want, kept); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestProgressOfTheUnknown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := report.NewProgress(report.ProgressConfig{Out: &b})
	for _, done := range []int64{0, 10, 20, -5} {
		p.Upload(done, 0)
	}
	p.Stop()
	if b.String() != "uploading\n" {
		t.Errorf("got %q", b.String())
	}
}

// TestLogBesideProgress: a log line takes the bar's place and never its end.
func TestLogBesideProgress(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := report.NewProgress(report.ProgressConfig{Out: &b, Live: true})
	p.Upload(1, 2)
	if n, err := p.Write([]byte("[ERROR] what went wrong\n")); n != 24 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if !strings.HasSuffix(b.String(), "\x1b[2K\r[ERROR] what went wrong\n") {
		t.Errorf("got %q", b.String())
	}
	p.Stop()
	if _, err := p.Write([]byte("after\n")); err != nil || !strings.HasSuffix(b.String(), "wrong\nafter\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
	b.Reset()
	quiet := report.NewProgress(report.ProgressConfig{Out: &b, Live: true, Quiet: true})
	quiet.Upload(1, 2)
	if _, err := quiet.Write([]byte("x\n")); err != nil || b.String() != "x\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func TestProgressFromSeveralGoroutines(t *testing.T) {
	t.Parallel()
	var out safe
	p := report.NewProgress(report.ProgressConfig{Out: &out, Live: true, Interval: time.Nanosecond})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range int64(200) {
				p.Upload(i, 200)
				p.Scan(exporttest.Clean())
			}
			p.Stop()
		})
	}
	wg.Wait()
	if n := strings.Count(out.b.String(), "succeeded, 0 findings"); n != 1 {
		t.Errorf("the end was told %d times", n)
	}
}
