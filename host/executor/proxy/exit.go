package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/sdk/egress"
)

// Config is what a plugin may do. Zero values take the defaults.
type Config struct {
	Plugin string // its name, for people
	// Rules say what may be reached: Hosts, Allow, Ports and Literals; the rest of
	// it is the proxy's.
	Rules egress.Config
	// Bytes bounds what one job sends and receives, together; 0: nothing does.
	Bytes int64

	Connections int           // from one process at once; default 64
	Header      int           // of a request, in bytes; default 16 KiB
	HeaderTime  time.Duration // until it is there; default 10 s
	DialTime    time.Duration // from the lookup of a name to the connection; default 30 s
	Idle        time.Duration // without a byte either way; default 2 min
	Total       time.Duration // for one connection; default 1 h
}

// Usage is what went out, and came back.
type Usage struct {
	Connections    int   // that were made to the outside
	Refused        int   // requests that a rule refused
	Sent, Received int64 // bytes, without what was said to the proxy
}

// Tally counts what all processes of a plugin do. It only grows. Safe for
// concurrent use.
type Tally struct {
	connections, refused, sent, received atomic.Int64
}

// Usage is what was counted so far.
func (t *Tally) Usage() Usage {
	return Usage{int(t.connections.Load()), int(t.refused.Load()), t.sent.Load(), t.received.Load()}
}

func (u Usage) less(v Usage) Usage {
	return Usage{u.Connections - v.Connections, u.Refused - v.Refused, u.Sent - v.Sent, u.Received - v.Received}
}

// Exit is the way out of one process. Safe for concurrent use.
type Exit struct {
	cfg     Config
	guard   *egress.Guard // of the rules alone
	log     hclog.Logger
	all     *Tally // the plugin's
	own     Tally
	server  *http.Server
	forward *httputil.ReverseProxy

	ctx      context.Context //nolint:containedctx // of every dial: Close ends it
	cancel   context.CancelFunc
	serving  sync.WaitGroup // Serve's goroutines
	handling sync.WaitGroup // connections from the plugin

	mu      sync.Mutex
	inside  map[*inward]struct{}
	outside map[*outward]struct{}
	closed  bool
	running map[*job]struct{}
	now     *egress.Guard // what may be called now: see permit
	left    int64         // bytes that the jobs may still use
}

// Check says what is wrong with cfg.
func (c Config) Check() error {
	if c.Bytes < 0 || c.Connections < 0 || c.Header < 0 || c.HeaderTime < 0 || c.DialTime < 0 || c.Idle < 0 || c.Total < 0 {
		return errors.New("no bound of egress may be negative")
	}
	_, err := egress.New(c.Rules)
	return err
}

// Open makes a way out that nobody can take yet. all counts what it does beside
// what others do.
func Open(cfg Config, all *Tally, log hclog.Logger) (*Exit, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.Connections, cfg.Header = cmp.Or(cfg.Connections, 64), cmp.Or(cfg.Header, 16<<10)
	cfg.HeaderTime, cfg.DialTime = cmp.Or(cfg.HeaderTime, 10*time.Second), cmp.Or(cfg.DialTime, 30*time.Second)
	cfg.Idle, cfg.Total = cmp.Or(cfg.Idle, 2*time.Minute), cmp.Or(cfg.Total, time.Hour)
	guard, err := egress.New(cfg.Rules)
	if err != nil {
		return nil, err
	}
	e := &Exit{
		cfg: cfg, guard: guard, log: log, all: all, left: cfg.Bytes,
		inside: map[*inward]struct{}{}, outside: map[*outward]struct{}{}, running: map[*job]struct{}{}, now: guard,
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.forward = e.newForward()
	e.server = &http.Server{
		Handler: e, ReadHeaderTimeout: cfg.HeaderTime, IdleTimeout: cfg.Idle, ReadTimeout: cfg.Total, WriteTimeout: cfg.Total,
		MaxHeaderBytes: cfg.Header, DisableGeneralOptionsHandler: true, ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ConnState: e.changed, ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	return e, nil
}

// Serve answers on l, which is the exit's from then on, until Close.
func (e *Exit) Serve(l net.Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = l.Close() // nobody comes
		return
	}
	e.serving.Go(func() {
		// It ends with Close; or with the listener, and then nobody comes any more.
		if err := e.server.Serve(&listener{l, e}); !errors.Is(err, http.ErrServerClosed) {
			e.log.Warn("the way out of a plugin process is shut", "error", err)
		}
	})
}

// Begin says that a job begins, which may call permitted, as
// [egress.Config.Permitted] has it, of what the rules allow; none: all of that.
// end says that it has ended, and what went out meanwhile: of all jobs of the
// process, when it has several at once. With the last one everything to the
// outside is closed.
func (e *Exit) Begin(permitted []string) (end func() Usage) {
	before, j := e.own.Usage(), &job{permitted}
	e.mu.Lock()
	e.running[j] = struct{}{}
	if len(e.running) == 1 {
		e.left = e.cfg.Bytes
	} else {
		e.left += e.cfg.Bytes
	}
	e.permit()
	e.mu.Unlock()
	e.closeForbidden()
	return func() Usage {
		e.mu.Lock()
		delete(e.running, j)
		last := len(e.running) == 0
		if last {
			e.left = e.cfg.Bytes
		}
		e.permit()
		e.mu.Unlock()
		if last {
			e.closeOutside()
		} else {
			e.closeForbidden()
		}
		return e.own.Usage().less(before)
	}
}

// Close ends everything. It may be called more than once.
func (e *Exit) Close() {
	e.mu.Lock()
	e.closed = true
	var inside []*inward
	for c := range e.inside {
		inside = append(inside, c)
	}
	e.mu.Unlock()
	e.cancel()
	_ = e.server.Close() // the listeners, and who is between two requests
	for _, c := range inside {
		_ = c.Close()
	}
	e.closeOutside()
	e.serving.Wait()
	e.handling.Wait()
}

func (e *Exit) closeOutside() {
	e.mu.Lock()
	outside := slices.Collect(maps.Keys(e.outside))
	e.mu.Unlock()
	for _, c := range outside {
		_ = c.Close()
	}
}

// spend takes n bytes from what the jobs may use. It reports false when there was
// less.
func (e *Exit) spend(n int) bool {
	if e.cfg.Bytes == 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = max(e.left-int64(n), -1)
	return e.left >= 0
}

// room is how many bytes may be read or written next.
func (e *Exit) room() int {
	if e.cfg.Bytes == 0 {
		return math.MaxInt
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(max(e.left, 0))
}

// errSpent is what ends connections when a job has used up its bytes.
var errSpent = errors.New("the job has used up its bytes")

// dial connects to the outside, when that may be.
func (e *Exit) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.DialTime)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)() //nolint:contextcheck // Close ends it, too
	if e.room() == 0 {
		return nil, errSpent
	}
	conn, err := e.rules().DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &outward{Conn: conn, exit: e, to: &url.URL{Scheme: "http", Host: address}}
	c.idle, c.total = time.AfterFunc(e.cfg.Idle, c.end), time.AfterFunc(e.cfg.Total, c.end)
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.outside[c] = struct{}{}
	}
	e.mu.Unlock()
	if closed {
		_ = c.Close()
		return nil, fmt.Errorf("the plugin process has ended: %w", net.ErrClosed)
	}
	// Another job may have begun, or ended, while it was dialled.
	if err := e.rules().CheckURL(c.to); err != nil {
		_ = c.Close()
		return nil, err
	}
	e.own.connections.Add(1)
	e.all.connections.Add(1)
	return c, nil
}
