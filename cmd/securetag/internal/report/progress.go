package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/internal/safetext"
)

// ProgressConfig says where and how to show progress.
type ProgressConfig struct {
	Out io.Writer // usually stderr
	// Live draws a bar on the last line; otherwise there is a line for each
	// change of state and each 10 %. Say so only for a terminal.
	Live bool
	// Quiet shows nothing.
	Quiet bool
	// WidthFunc gives the cells of a line; asked again for each drawing, so
	// that it may change. nil: 80. Below 24 there is no room for a bar.
	WidthFunc func() int
	// Interval is how often the bar is drawn at most. 0: 100 ms.
	Interval time.Duration
}

const (
	minBarLine = 24 // cells of the narrowest line with a bar
	maxBar     = 30 // cells of the widest bar
	barExtra   = 10 // " 100% |" before the bar, "|  " after it
	maxLine    = 500
)

// Progress shows how far an upload and then a scan are. It starts no goroutine.
// Safe for concurrent use. Errors of Out are ignored: progress is not worth
// failing a scan.
type Progress struct {
	mu    sync.Mutex
	cfg   ProgressConfig
	bar   *progressbar.ProgressBar
	cells int    // width that bar was made for
	text  string // what bar was last drawn with
	done  int
	drawn time.Time
	ended bool

	uploaded int // last tenth of the upload that was told; -1: none
	scan     client.State
	jobs     map[string]jobSeen
}

type jobSeen struct {
	state   client.State
	attempt int
	tenth   int
	phase   string
}

// NewProgress shows nothing yet. Call Stop before anything else is written to
// the terminal.
func NewProgress(cfg ProgressConfig) *Progress {
	if cfg.WidthFunc == nil {
		cfg.WidthFunc = func() int { return 80 }
	}
	if cfg.Interval == 0 {
		cfg.Interval = 100 * time.Millisecond
	}
	return &Progress{cfg: cfg, uploaded: -1, jobs: map[string]jobSeen{}}
}

// Upload says that done of total bytes are sent. total 0: not known.
func (p *Progress) Upload(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.Quiet || p.ended {
		return
	}
	percent := percentOf(done, total)
	if p.live() {
		text := "uploading " + size(done)
		if total > 0 {
			text += " of " + size(total)
		}
		p.draw(text, percent)
	}
	if tenth := percent / 10; tenth > p.uploaded && (!p.live() || tenth == 10) {
		p.uploaded = tenth
		switch tenth {
		case 10:
			p.line("uploaded " + size(done))
		case 0:
			p.line(strings.TrimSuffix("uploading "+size(total), " 0 B"))
		default:
			p.line(fmt.Sprintf("uploading %d %%", tenth*10))
		}
	}
}

// Scan shows a scan as it is now.
func (p *Progress) Scan(s client.Scan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.Quiet || p.ended {
		return
	}
	changed := s.State != p.scan
	p.scan = s.State
	state := "scan " + safetext.Visible(s.ID) + " " + export.StateWords(s.State)
	if changed && !s.State.Final() {
		p.line(state)
	}
	for _, j := range s.Jobs {
		p.job(j)
	}
	if changed && s.State.Final() {
		p.line(state)
	}
	switch {
	case s.State.Final():
		p.clear()
	case p.live():
		p.draw(scanText(s), scanPercent(s))
	}
}

// job tells what is new about one job.
func (p *Progress) job(j client.Job) {
	was := p.jobs[j.ID]
	now := jobSeen{state: j.State, attempt: j.Attempt}
	if was.state == now.state && was.attempt == now.attempt {
		now.tenth, now.phase = was.tenth, was.phase
	}
	name := safetext.Visible(j.Plugin)
	switch {
	case now.state == was.state && now.attempt == was.attempt:
	case j.State == client.StateQueued && j.Error != nil:
		p.line(fmt.Sprintf("%s: trying again after attempt %d of %d: %s", name, j.Attempt, j.MaxAttempts, safetext.Plain(j.Error.Message)))
	case j.State == client.StateQueued:
	case j.State == client.StateRunning && j.Attempt > 1:
		p.line(fmt.Sprintf("%s: running, attempt %d of %d", name, j.Attempt, j.MaxAttempts))
	case j.State == client.StateSucceeded:
		p.line(name + ": " + export.JobWords(j))
	case j.State == client.StateRunning:
		p.line(name + ": running")
	default:
		p.line(fmt.Sprintf("%s: %s: %s", name, export.StateWords(j.State), export.JobReason(j)))
	}
	if pr := j.Progress; pr != nil && j.State == client.StateRunning && !p.live() {
		tenth, phase := percentOf(pr.Done, pr.Total)/10, safetext.Plain(pr.Phase)
		if phase != now.phase || tenth > now.tenth {
			now.phase, now.tenth = phase, tenth
			p.line(name + ": " + progressText(*pr))
		}
	}
	p.jobs[j.ID] = now
}

// Stop takes the bar away; nothing is shown after it. Idempotent.
func (p *Progress) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.ended = true
}

// Write writes log lines, above the bar. It works before, while and after
// progress is shown, and also when that is Quiet.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.cfg.Out.Write(b)
}

func (p *Progress) live() bool { return p.cfg.Live && p.cfg.WidthFunc() >= minBarLine }

// line writes a line that stays, above the bar.
func (p *Progress) line(s string) {
	p.clear()
	most := maxLine
	if p.cfg.Live {
		most = max(1, p.cfg.WidthFunc()-1)
	}
	s = cut(s, most)
	_, _ = io.WriteString(p.cfg.Out, s+"\n")
}

// clear takes the bar away; the next draw makes another.
func (p *Progress) clear() {
	if p.bar != nil {
		_, _ = io.WriteString(p.cfg.Out, "\x1b[2K\r") // the bar's own Clear does nothing at 100 %
		p.bar = nil
	}
}

// draw draws the bar, at most once an interval unless it was cleared.
func (p *Progress) draw(text string, percent int) {
	cells := p.cfg.WidthFunc()
	if p.bar != nil && cells == p.cells && (time.Since(p.drawn) < p.cfg.Interval || text == p.text && percent == p.done) {
		return
	}
	// A fresh one each time: its line is then exactly as wide as we say, also
	// when the terminal has changed. The last column stays free, as a terminal
	// that wraps there cannot clear the line again.
	bar := min(maxBar, (cells-barExtra-1)/2)
	text = cut(text, cells-barExtra-1-bar)
	p.bar = progressbar.NewOptions(100,
		progressbar.OptionSetWriter(p.cfg.Out),
		progressbar.OptionSetDescription(text),
		progressbar.OptionSetWidth(bar),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "|", BarEnd: "|"}),
	)
	p.cells, p.text, p.done, p.drawn = cells, text, percent, time.Now()
	if percent == 0 {
		_ = p.bar.RenderBlank()
	}
	_ = p.bar.Set(min(percent, 100))
}

// scanPercent is the mean over the jobs; one that does not know its total
// counts as not begun.
func scanPercent(s client.Scan) int {
	sum := 0
	for _, j := range s.Jobs {
		switch {
		case j.State.Final():
			sum += 100
		case j.State == client.StateRunning && j.Progress != nil:
			sum += percentOf(j.Progress.Done, j.Progress.Total)
		}
	}
	return sum / max(1, len(s.Jobs))
}

// scanText is what the first unfinished job says of itself.
func scanText(s client.Scan) string {
	for _, j := range s.Jobs {
		if j.State == client.StateRunning && j.Progress != nil {
			return safetext.Visible(j.Plugin) + " " + progressText(*j.Progress)
		}
	}
	return export.StateWords(s.State)
}

func progressText(p client.Progress) string {
	var parts []string
	if s := safetext.Plain(p.Phase); s != "" {
		parts = append(parts, s)
	}
	if p.Total > 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d/%d %s", p.Done, p.Total, safetext.Plain(p.Unit))))
	} else if p.Done > 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s", p.Done, safetext.Plain(p.Unit))))
	}
	if len(parts) == 0 {
		return "running"
	}
	return strings.Join(parts, " ")
}

// percentOf trusts neither number.
func percentOf(done, total int64) int {
	switch {
	case total <= 0 || done <= 0:
		return 0
	case done >= total:
		return 100
	default:
		return int(float64(done) / float64(total) * 100)
	}
}

// size is bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1023.95 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
