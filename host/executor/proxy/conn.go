package proxy

import (
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// outward is a connection to the outside, counted and bounded.
type outward struct {
	net.Conn
	exit        *Exit
	to          *url.URL // as it was asked for: host and port
	idle, total *time.Timer

	mu     sync.Mutex
	closed bool
	after  func() // of Close; nil: nothing
}

// Read ends the connection when the bytes of the job are used up.
func (c *outward) Read(p []byte) (int, error) {
	room := c.exit.room()
	if room == 0 {
		return 0, c.spent()
	}
	n, err := c.Conn.Read(p[:min(len(p), room)])
	c.exit.own.received.Add(int64(n))
	c.exit.all.received.Add(int64(n))
	return n, c.moved(n, err)
}

// Write does the same.
func (c *outward) Write(p []byte) (int, error) {
	if len(p) > c.exit.room() {
		return 0, c.spent()
	}
	n, err := c.Conn.Write(p)
	c.exit.own.sent.Add(int64(n))
	c.exit.all.sent.Add(int64(n))
	return n, c.moved(n, err)
}

func (c *outward) moved(n int, err error) error {
	if n > 0 {
		c.idle.Reset(c.exit.cfg.Idle)
		if !c.exit.spend(n) && err == nil {
			err = c.spent()
		}
	}
	return err
}

func (c *outward) spent() error {
	c.end()
	return errSpent
}

func (c *outward) end() { _ = c.Close() }

// Close may be called more than once.
func (c *outward) Close() error {
	c.mu.Lock()
	after, again := c.after, c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	c.idle.Stop()
	c.total.Stop()
	c.exit.mu.Lock()
	delete(c.exit.outside, c)
	c.exit.mu.Unlock()
	err := c.Conn.Close()
	if after != nil {
		after()
	}
	return err
}

// then has f called when the connection closes, or now if it has.
func (c *outward) then(f func()) {
	c.mu.Lock()
	closed := c.closed
	c.after = f
	c.mu.Unlock()
	if closed {
		f()
	}
}

// CloseWrite says that nothing more is sent.
func (c *outward) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// inward is a connection from the plugin.
type inward struct {
	net.Conn
	exit  *Exit
	over  bool // it is one too many
	taken bool // by a handler; it is the handler's alone
}

// Close takes it out of the exit's.
func (c *inward) Close() error {
	c.exit.mu.Lock()
	delete(c.exit.inside, c)
	c.exit.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite says that nothing more is sent.
func (c *inward) CloseWrite() error { return closeWrite(c.Conn) }

type connKey struct{}

// changed counts the connections whose goroutines live. One that a handler took
// is the handler's to count.
func (e *Exit) changed(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		e.handling.Add(1)
	case http.StateClosed:
		e.handling.Done()
	case http.StateHijacked:
		if in, ok := c.(*inward); ok {
			in.taken = true
		}
	case http.StateActive, http.StateIdle:
	}
}

// listener keeps to the number of connections.
type listener struct {
	net.Listener
	exit *Exit
}

// Accept lets in as many again as there may be, to be told that they are too many,
// and hangs up on the rest.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, e := &inward{Conn: conn, exit: l.exit}, l.exit
		e.mu.Lock()
		n := len(e.inside)
		room := n < 2*e.cfg.Connections && !e.closed
		if room {
			c.over = n >= e.cfg.Connections
			e.inside[c] = struct{}{}
		}
		e.mu.Unlock()
		if room {
			return c, nil
		}
		_ = conn.Close() // nothing was read of it
	}
}
