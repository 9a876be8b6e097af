package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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

// progress is gosec's log, of which it counts the files that are checked.
type progress struct {
	out     io.Writer
	checked atomic.Uint64
}

func (p *progress) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("Checking file:")) {
		p.checked.Add(1)
	}
	return len(line), nil
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
