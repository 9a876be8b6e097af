package executor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
)

const (
	maxLogLine  = 2 << 10 // bytes kept of a line
	logBurst    = 200     // lines logged at once
	logRate     = 50      // lines a second after that
	tailLines   = 3
	maxTailLine = 300
)

// meter lets a burst and then a rate through, and counts the rest.
type meter struct {
	tokens  float64
	last    time.Time
	dropped int
}

func (m *meter) allow(now time.Time) bool {
	if m.last.IsZero() {
		m.tokens = logBurst
	} else {
		m.tokens = min(logBurst, m.tokens+now.Sub(m.last).Seconds()*logRate)
	}
	m.last = now
	if m.tokens < 1 {
		m.dropped++
		return false
	}
	m.tokens--
	return true
}

// tail keeps the last lines of a plugin's standard error, to tell why it died,
// and the first line of a Go panic, because the last ones are only addresses.
type tail struct {
	mu     sync.Mutex
	last   []string
	panicd string
	spent  string // see complaints; of the last line that had one
}

func (t *tail) add(line string) {
	if line == "" {
		return
	}
	line = clean.Cut(line, maxTailLine)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panicd == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		t.panicd = line
	}
	for _, c := range complaints {
		if strings.Contains(line, c.text) {
			t.spent = c.spent
			break
		}
	}
	if t.last = append(t.last, line); len(t.last) > tailLines {
		t.last = slices.Delete(t.last, 0, 1)
	}
}

// String is one line, "" when nothing was said.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panicd != "" {
		return t.panicd
	}
	return strings.Join(t.last, " | ")
}

// complaints are what runtimes say when a limit stops them that the kernel does
// not count, and what they have run out of then.
var complaints = []struct{ text, spent string }{ //nolint:gochecknoglobals // a table, never written
	{"out of memory", "memory"}, {"MemoryError", "memory"}, {"annot allocate memory", "memory"}, {"heap limit", "memory"},
	{"cannot map pages", "memory"}, {"errno=12)", "memory"},
	{"too many open files", "open files"}, {"file too large", "file size"},
	{"failed to create new OS thread", "processes"}, {"resource temporarily unavailable", "processes"},
}

// complained is what the process said that it had run out of.
func (t *tail) complained() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spent
}

// copyLog reads a plugin's standard error to its end, whatever is in it, and
// logs it line by line: cut, cleaned, a bounded number a second. go-plugin
// would do the parsing too, but panics on {"@message":1}.
func copyLog(r io.Reader, t *tail, log hclog.Logger) {
	br := bufio.NewReaderSize(r, 16<<10)
	var m meter
	for {
		line, err := readLine(br)
		if line != "" {
			level, text, logged := parseLog(line)
			if !logged || level > hclog.Debug { // else every plugin's would be where go-plugin says that it listens
				t.add(text)
			}
			if m.allow(time.Now()) && text != "" {
				log.Log(level, text)
			}
		}
		if err != nil {
			break
		}
	}
	if m.dropped > 0 {
		log.Warn("log lines of the plugin dropped, it logs too much", "lines", m.dropped)
	}
}

// readLine gives the next line, cut to maxLogLine; the rest of it is skipped.
func readLine(br *bufio.Reader) (string, error) {
	var kept []byte
	for {
		part, prefix, err := br.ReadLine()
		kept = append(kept, part[:min(len(part), maxLogLine-len(kept))]...)
		if err != nil || !prefix {
			return string(kept), err
		}
	}
}

// parseLog understands what hclog writes as JSON, with every type checked;
// anything else is a debug line, and not logged by it.
func parseLog(line string) (level hclog.Level, text string, logged bool) {
	var entry map[string]any
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &entry) != nil {
		return hclog.Debug, clean.Line(line, maxLogLine), false
	}
	message, isText := entry["@message"].(string)
	name, _ := entry["@level"].(string)
	level = hclog.LevelFromString(name)
	if !isText || level == hclog.NoLevel || level == hclog.Off {
		return hclog.Debug, clean.Line(line, maxLogLine), false
	}
	var b strings.Builder
	b.WriteString(message)
	for _, k := range slices.Sorted(maps.Keys(entry)) {
		switch v := entry[k].(type) {
		case string, float64, bool:
			if !strings.HasPrefix(k, "@") {
				fmt.Fprintf(&b, " %s=%v", k, v)
			}
		}
	}
	return level, clean.Line(b.String(), maxLogLine), true
}
