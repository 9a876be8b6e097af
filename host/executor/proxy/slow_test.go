package proxy_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/sdk/egress"
)

// pipes is a listener whose connections are in memory.
type pipes struct {
	come   chan net.Conn
	closed context.Context
	close  context.CancelFunc
}

func newPipes(t testing.TB) *pipes {
	p := &pipes{come: make(chan net.Conn)}
	p.closed, p.close = context.WithCancel(t.Context())
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.come <- b
	return a
}

// TestSlow: who writes a header a byte at a time is waited for no longer than
// HeaderTime, and who says nothing between two requests no longer than Idle.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, err := proxy.Open(proxy.Config{HeaderTime: 10 * time.Second, Idle: time.Minute}, &proxy.Tally{}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		p := newPipes(t)
		e.Serve(p)
		began := time.Now()
		slow := p.dial()
		go func() { // ends with the connection
			for {
				time.Sleep(time.Second)
				if _, err := io.WriteString(slow, "G"); err != nil {
					return
				}
			}
		}()
		_, _ = io.Copy(io.Discard, slow)
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("a slow header was waited for %s", d)
		}
		slow.Close()
		idle := p.dial()
		_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		began = time.Now()
		_, _ = io.Copy(io.Discard, idle)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("an idle connection was kept for %s", d)
		}
		idle.Close()
	})
}

// FuzzRequest: whatever a plugin says, nothing is dialled that may not be, and
// every answer is a refusal or none.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", "CONNECT hooks.acme.com:443 HTTP/1.1\r\n\r\nhello", "CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://hooks.acme.com/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "GET http://127.1/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST http://hooks.acme.com/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET http://a.acme.com/ HTTP/1.1\r\n\r\n",
		"GET http://hooks.acme.com/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	tally := &proxy.Tally{}
	e, err := proxy.Open(proxy.Config{Rules: egress.Config{Resolver: all("10.0.0.1")}}, tally, hclog.NewNullLogger())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(e.Close)
	p := newPipes(f)
	e.Serve(p)
	f.Fuzz(func(t *testing.T, said []byte) {
		c := p.dial()
		heard := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(io.LimitReader(c, 64<<10))
			c.Close()
			heard <- b
		}()
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(said)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)) // what is no whole request has no answer
		b := <-heard
		for _, good := range []string{"HTTP/1.1 2", "HTTP/1.1 3", "HTTP/1.1 500"} {
			if len(b) >= len(good) && string(b[:len(good)]) == good {
				t.Errorf("%q is answered %q", said, b)
			}
		}
		if u := tally.Usage(); u.Connections > 0 {
			t.Errorf("%q led outside: %+v", said, u)
		}
	})
}
