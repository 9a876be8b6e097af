package sandbox_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// tryTheWayOut is a prisoner who has one.
func tryTheWayOut() map[string]any {
	where, _ := os.ReadFile(filepath.Join(filepath.Dir(os.Getenv("HOME")), "in", "where"))
	hear := func(addr string) any {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		return string(text)
	}
	bind := func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			l.Close()
		}
		return err
	}
	udp := func() error {
		c, err := net.Dial("udp", "192.0.2.1:53")
		if err == nil {
			_, err = c.Write([]byte("x"))
			c.Close()
		}
		return err
	}
	return map[string]any{
		"way out": hear(sandbox.EgressAddr), "host": hear(string(where)), "elsewhere": hear("192.0.2.1:3128"), "udp": udp(), "listen": bind(),
		"mptcp": socket(unix.AF_INET, unix.SOCK_STREAM, 262), "packet": socket(unix.AF_PACKET, unix.SOCK_RAW, 0), "raw": socket(unix.AF_INET, unix.SOCK_RAW, 1),
	}
}

// TestWayOut: what is at EgressAddr inside is the host's to serve from outside,
// and nothing else can be reached.
func TestWayOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	c := newCell(t, "egress")
	if err := os.WriteFile(filepath.Join(c.work, "in", "where"), []byte(outside.Addr().String()), 0o644); err != nil {
		t.Fatal(err)
	}
	c.spec.Egress = true
	var way net.Listener
	done := make(chan struct{})
	c.serve = func(l net.Listener) {
		way = l
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "the host")
			conn.Close()
		}()
	}
	got := c.lock(t, s).facts(t)
	way.Close()
	<-done
	for what, want := range map[string]string{
		"way out": "the host", "host": "denied", "elsewhere": "unreachable", "udp": "unreachable", "listen": "denied",
		"mptcp": "not permitted", "packet": "not permitted", "raw": "not permitted",
	} {
		if !strings.Contains(got[what], want) {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
	// Nor is it beside the network of the host.
	if _, err := s.New(sandbox.Spec{Egress: true, Network: true}); err == nil {
		t.Error("a way out beside the host's network")
	}
}
