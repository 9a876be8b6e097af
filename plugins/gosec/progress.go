package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

// tellEvery is how often the engine says how far it is.
const tellEvery = 500 * time.Millisecond

// step is a line of that, beside the report's.
type step struct {
	Checked *uint64 `json:"checked"` // files
	Seconds int     `json:"seconds"` // since it began: while imports are checked, no file is
}

// stepStart tells a step from the report.
const stepStart = `{"checked":`

// progress is gosec's log, of which it counts the files that are checked, and
// keeps what gosec says of its own failures, which is nowhere else.
type progress struct {
	out     io.Writer
	checked atomic.Uint64

	mu     sync.Mutex
	failed []string
}

// maxFailed and maxFailure bound what is kept of failures, and of one, in bytes.
const (
	maxFailed  = 20
	maxFailure = 300
)

func (p *progress) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("Checking file:")) {
		p.checked.Add(1)
	} else if failure(line) {
		p.fail(line)
	}
	return len(line), nil
}

// failure reports whether gosec says that a rule did not come to its end: what it
// would have found is missing. That it follows no values in what has errors is
// among the errors already.
func failure(line []byte) bool {
	if bytes.Contains(line, []byte("has type errors, skipping SSA analysis")) {
		return false
	}
	for _, s := range []string{"Error building the SSA", "Panic when running SSA", "Error running analyzer", "Error waiting for analyzers", "Rule error:"} {
		if bytes.HasPrefix(line, []byte(s)) {
			return true
		}
	}
	return false
}

func (p *progress) fail(line []byte) {
	line, _, _ = bytes.Cut(line, []byte("\n")) // a stack follows
	text := strings.ToValidUTF8(string(line[:min(len(line), maxFailure)]), "")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failed) < maxFailed && !slices.Contains(p.failed, text) {
		p.failed = append(p.failed, text)
	}
}

// failures are those until now.
func (p *progress) failures() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.failed)
}

// tell prints steps until stop, after which it prints no more. Stopping twice is
// stopping once.
func (p *progress) tell() (stop func()) {
	done := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		began, tick := time.Now(), time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			n := p.checked.Load()
			_ = json.NewEncoder(p.out).Encode(step{Checked: &n, Seconds: int(time.Since(began).Seconds())}) // the report fails as well, and says so
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		telling.Wait()
	})
}

// listener takes what the engine prints: it passes steps on, and keeps the rest.
type listener struct {
	out    *sdk.Out
	files  uint64
	line   []byte // that has no end yet, and may be megabytes
	report []byte
}

func (l *listener) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.line = append(l.line, b...)
			return n, nil
		}
		l.line = append(l.line, b[:i]...)
		l.take(l.line)
		l.line, b = l.line[:0], b[i+1:]
	}
}

func (l *listener) take(line []byte) {
	var s step
	if !strings.HasPrefix(string(line[:min(len(line), len(stepStart))]), stepStart) || json.Unmarshal(line, &s) != nil || s.Checked == nil {
		l.report = bytes.Clone(line)
		return
	}
	l.out.Progress(sdk.Progress{Phase: "analysing", Done: min(*s.Checked, l.files), Total: l.files, Unit: "files", Message: fmt.Sprintf("for %d s", s.Seconds)})
}
