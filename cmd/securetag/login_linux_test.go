package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/apikey"
)

// prompted is a writer that says when something was written to it.
type prompted struct {
	mu   sync.Mutex // what reads the terminal outlives a signal
	said bytes.Buffer
	once chan struct{}
}

func (p *prompted) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func (p *prompted) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.said.Write(b)
	select {
	case p.once <- struct{}{}:
	default:
	}
	return n, err
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// TestLoginPrompt: a terminal is asked, shows nothing of the key, and is as it
// was afterwards, also after an interrupt.
func TestLoginPrompt(t *testing.T) {
	t.Parallel()
	secret, _ := apikey.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/usage" || r.Header.Get("Authorization") != "Bearer "+secret {
			t.Errorf("got %s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"plan":"default","quotas":[],"limits":{}}`)
	}))
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		name, typed string // "": the context ends
		code        int
	}{{"the key", secret + "\r", 0}, {"Ctrl-C", secret[:9] + "\x03", 130}, {"a signal", "", 130}} {
		screen, tty := terminal(t)
		defer tty.Close()
		config := t.TempDir()
		var out bytes.Buffer
		asked := &prompted{once: make(chan struct{}, 1)}
		p := &program{stdin: tty, stdout: &out, stderr: asked, environ: []string{"XDG_CONFIG_HOME=" + config}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan int, 1)
		go func() { ended <- p.run(ctx, []string{"login", "--server", server.URL}) }()
		<-asked.once
		if echoes(t, tty) {
			t.Errorf("%s: the terminal shows what is typed", tt.name)
		}
		if tt.typed == "" {
			cancel()
		} else if _, err := io.WriteString(screen, tt.typed); err != nil {
			t.Fatal(err)
		}
		if code := <-ended; code != tt.code {
			t.Errorf("%s: exit code %d, want %d: %s", tt.name, code, tt.code, asked.String())
		}
		if !echoes(t, tty) {
			t.Errorf("%s: the terminal is left without echo", tt.name)
		}
		if said := out.String() + asked.String(); strings.Contains(said, secret[:9]) || !strings.Contains(said, "Key for "+server.URL) {
			t.Errorf("said %q", said)
		}
		_, err := os.Stat(filepath.Join(config, "securetag", "login.json"))
		if (tt.code == 0) != (err == nil) {
			t.Errorf("%s: the login's file: %v", tt.name, err)
		}
	}
}
