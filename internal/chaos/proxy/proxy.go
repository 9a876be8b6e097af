// Package proxy stands between a client and PostgreSQL or Redis and loses
// chosen replies: the request reaches the server and is carried out, the reply
// is read to its end and thrown away, and the connection is closed. The client
// cannot know whether anything happened.
//
// A Proxy starts harmless; Arm makes it lose. Hold keeps requests back instead,
// as a network does that delivers late. Run returns after every connection is
// closed.
package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
)

// Loss says which replies are lost.
type Loss struct {
	Name  string // in Lost
	Match string // what the request has in it: SQL, or the name of a command
	Every int    // the third, the sixth, ... when it is 3
	Most  int    // no more than this many
}

// protocol splits the two directions of a connection.
type protocol interface {
	// requests reads from the client until the end, and passes everything on;
	// asked is called with each request that gets a reply, before it is passed on.
	requests(client *bufio.Reader, server io.Writer, asked func(request string)) error
	// replies reads from the server until the end, and passes on what is not
	// lost. lose says that of the next reply; it is called once for each that
	// is worth losing, and errLost ends the connection.
	replies(server *bufio.Reader, client io.Writer, lose func() bool, over func()) error
}

var errLost = errors.New("the reply is lost")

// Proxy is one listener. Make it with Redis or Postgres.
type Proxy struct {
	upstream string
	listener net.Listener
	protocol func() protocol // of one connection

	mu     sync.Mutex
	losses []Loss
	armed  bool
	seen   map[string]int
	lost   map[string]int
	open   map[net.Conn]bool
	holds  []string // what keeps a request back
	held   map[string]int
	freed  chan struct{} // closed by Release
}

// Redis makes a proxy for a Redis at upstream, host:port.
func Redis(upstream string, losses ...Loss) (*Proxy, error) {
	return listen(upstream, func() protocol { return resp{} }, losses)
}

// Postgres makes a proxy for a PostgreSQL at upstream, host:port, without TLS.
func Postgres(upstream string, losses ...Loss) (*Proxy, error) {
	return listen(upstream, func() protocol { return &pg{statements: map[string]string{}} }, losses)
}

func listen(upstream string, p func() protocol, losses []Loss) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return &Proxy{
		upstream: upstream, listener: l, protocol: p, losses: losses,
		seen: map[string]int{}, lost: map[string]int{}, open: map[net.Conn]bool{},
		held: map[string]int{}, freed: make(chan struct{}),
	}, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Arm makes it lose replies from now on.
func (p *Proxy) Arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

// Lost is how many replies were lost, by the name of the loss.
func (p *Proxy) Lost() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.lost)
}

// Hold keeps back, until Release, every request with match in it, and all that
// its connection sends after it.
func (p *Proxy) Hold(match string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = append(p.holds, match)
}

// Held is how many requests with match in them were kept back.
func (p *Proxy) Held(match string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[match]
}

// Release delivers what was held and holds nothing any more.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = nil
	close(p.freed)
	p.freed = make(chan struct{})
}

// wait keeps a request back while it is to be held.
func (p *Proxy) wait(ctx context.Context, request string) {
	p.mu.Lock()
	var freed chan struct{}
	for _, match := range p.holds {
		if strings.Contains(request, match) {
			p.held[match]++
			freed = p.freed
		}
	}
	p.mu.Unlock()
	if freed == nil {
		return
	}
	select {
	case <-freed:
	case <-ctx.Done():
	}
}

// Run serves until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() {
		_ = p.listener.Close()
		p.closeAll()
	})
	defer stop()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("proxy: %w", err)
		}
		wg.Go(func() { p.serve(ctx, client) })
	}
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	both := []net.Conn{client}
	closeBoth := func() {
		for _, c := range both {
			_ = c.Close() // may be closed already
		}
	}
	defer closeBoth()
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		return // as if nobody listened here
	}
	both = append(both, server)
	if !p.track(ctx, both) {
		return
	}
	defer p.untrack(both)

	q, proto := &queue{}, p.protocol()
	var wg sync.WaitGroup
	wg.Go(func() {
		asked := func(request string) {
			q.push(request)
			p.wait(ctx, request)
		}
		_ = proto.requests(bufio.NewReader(client), server, asked) // its end is the end of both
		closeBoth()
	})
	_ = proto.replies(bufio.NewReader(server), client, func() bool { return p.lose(q.peek()) }, q.pop)
	closeBoth()
	wg.Wait()
}

// lose decides about the reply to a request.
func (p *Proxy) lose(request string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed {
		return false
	}
	for _, l := range p.losses {
		if !strings.Contains(request, l.Match) {
			continue
		}
		p.seen[l.Name]++
		if p.seen[l.Name]%l.Every == 0 && p.lost[l.Name] < l.Most {
			p.lost[l.Name]++
			return true
		}
	}
	return false
}

func (p *Proxy) track(ctx context.Context, conns []net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
	return ctx.Err() == nil
}

func (p *Proxy) untrack(conns []net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

// queue holds the requests that wait for their reply.
type queue struct {
	mu       sync.Mutex
	requests []string
}

func (q *queue) push(request string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.requests = append(q.requests, request)
}

// peek is the request whose reply comes now; "" when nobody asked.
func (q *queue) peek() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.requests) == 0 {
		return ""
	}
	return q.requests[0]
}

func (q *queue) pop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.requests) > 0 {
		q.requests = q.requests[1:]
	}
}

// maxFrame bounds one message, in bytes.
const maxFrame = 256 << 20
