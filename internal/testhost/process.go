// Package testhost builds and runs real host processes for tests and benchmarks.
package testhost

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Command runs a verb of the CLI and returns what it prints.
func Command(t testing.TB, binary string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("securetag %v: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// Process is one `securetag serve`. It can be started again after it ended.
type Process struct {
	Binary string
	Config string   // path of securetag.hcl
	Listen string   // address of the API
	Args   []string // further ones of serve
	Env    []string // beside the test's own

	cmd    *exec.Cmd
	exited chan error
	mu     sync.Mutex
	lines  []string
}

// Start starts it and returns when it serves.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	p.cmd = exec.Command(p.Binary, append([]string{"--config", p.Config, "serve", "--listen", p.Listen}, p.Args...)...)
	p.cmd.Env = append(os.Environ(), p.Env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	p.exited = make(chan error, 1)
	go func() {
		p.follow(stderr, serving)
		p.exited <- p.cmd.Wait()
	}()
	select {
	case <-serving:
	case err := <-p.exited:
		p.cmd = nil
		t.Fatalf("the host ended at its start: %v\n%s", err, p.Log(40))
	case <-time.After(time.Minute):
		t.Fatalf("the host did not serve within a minute:\n%s", p.Log(40))
	}
}

// PID is its process id while it runs.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill is kill -9.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.exited; err == nil {
		t.Error("a killed host ended well")
	}
	p.cmd = nil
}

// Terminate sends SIGTERM and returns how long the host took to end, and how it
// ended.
func (p *Process) Terminate(t testing.TB) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-p.exited
	p.cmd = nil
	return time.Since(began), err
}

// Stop terminates a host that still runs and fails the test when it does not
// end well, as after a data race.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	if _, err := p.Terminate(t); err != nil {
		t.Errorf("the host ended with %v", err)
	}
}

// follow keeps the log and says when the host serves. Requests that only read
// are left out: they are the tests' polling.
func (p *Process) follow(r io.Reader, serving chan<- struct{}) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var entry struct {
			Message string `json:"@message"`
			Method  string `json:"method"`
		}
		_ = json.Unmarshal(sc.Bytes(), &entry) // a line that is not JSON is kept
		if entry.Method != http.MethodGet {
			p.mu.Lock()
			p.lines = append(p.lines, sc.Text())
			p.mu.Unlock()
		}
		if entry.Message == "serving" && serving != nil {
			close(serving)
			serving = nil
		}
	}
}

// Log is the last n lines of its log.
func (p *Process) Log(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[max(0, len(p.lines)-n):], "\n")
}

// Logged is how many lines of its log contain text.
func (p *Process) Logged(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, line := range p.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
