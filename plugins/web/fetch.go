package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/egress"
)

const (
	maxFailures = 8   // one after the other: the site is gone
	slowest     = 0.5 // requests a second, however often it asks to slow down
)

var (
	errBudget = errors.New("the requests of this scan are used up")
	errGone   = errors.New("the site stopped answering")
	errSlow   = errors.New("no answer in time")
	errTime   = errors.New("the time for this scan was over")
)

// exchange is a request and its answer, as far as it was read.
type exchange struct {
	method  string
	url     *url.URL
	sent    http.Header
	proto   string
	status  int
	header  http.Header
	body    []byte
	cut     bool // there was more of the body
	sealed  bool // it was asked for because it should not be there: not archived
	started time.Time
	took    time.Duration
}

// fetcher is one scan's way to the site: every request goes through it.
type fetcher struct {
	transport http.RoundTripper
	timeout   time.Duration // of one answer
	limiter   *rate.Limiter
	agent     string
	login     *login // nil: none
	left      int    // requests
	out       *sdk.Out
	har       har

	done     uint64 // requests
	failed   int    // one after the other
	failures int
	refused  int // requests that may not be made, by the guard or by the host's proxy
	slowed   int // answers that asked for fewer requests
	encoded  int // answers in an encoding that nobody asked for
	cut      int // answers that were longer than is read
}

func newFetcher(g *egress.Guard, c *Config, out *sdk.Out) *fetcher {
	return &fetcher{
		transport: g.Transport(), timeout: c.RequestTimeout, agent: c.UserAgent, left: c.MaxRequests, out: out,
		limiter: rate.NewLimiter(rate.Limit(c.Rate), max(1, int(c.Rate/10))),
	}
}

// get asks for u with more headers in pairs.
func (f *fetcher) get(ctx context.Context, u *url.URL, header ...string) (*exchange, error) {
	return f.getSome(ctx, u, -1, header...)
}

// getSome is get for at most limit bytes of the body; what is cut is not an
// error. Negative: as many as one answer may have.
func (f *fetcher) getSome(ctx context.Context, u *url.URL, limit int64, header ...string) (*exchange, error) {
	if f.left <= 0 {
		return nil, errBudget
	}
	if f.failed >= maxFailures {
		return nil, errGone
	}
	if err := f.limiter.Wait(ctx); err != nil {
		return nil, timeUp(ctx)
	}
	f.left--
	f.done++
	ex, err := f.exchange(ctx, u, limit, header)
	f.out.Progress(sdk.Progress{Phase: "asking", Done: f.done, Unit: "requests", Message: place(u)})
	if ex != nil {
		f.har.add(ex)
	}
	switch {
	case err == nil && ex.status != http.StatusBadGateway && ex.status != http.StatusGatewayTimeout: // nobody is behind it
		f.failed = 0
	case ctx.Err() != nil:
		return nil, timeUp(ctx)
	case errors.Is(err, egress.ErrRefused):
		f.refused++
	default:
		f.failed++
		f.failures++
	}
	if ex != nil && (ex.status == http.StatusTooManyRequests || ex.status == http.StatusServiceUnavailable) {
		f.slowed++
		f.limiter.SetLimit(max(f.limiter.Limit()/2, min(slowest, f.limiter.Limit())))
		f.limiter.SetBurst(1)
	}
	return ex, err
}

// timeUp is why ctx has ended, or soon will: the limiter waits for no turn that
// comes after the deadline.
func timeUp(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errTime
}

func (f *fetcher) exchange(ctx context.Context, u *url.URL, limit int64, header []string) (*exchange, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errSlow)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", f.agent)
	req.Header.Set("Accept", "*/*")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	shown := f.login.put(req)
	ex := &exchange{method: req.Method, url: u, sent: shown, sealed: limit >= 0, started: time.Now()}
	// Not a client, which would take a redirect that it cannot read for an error.
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return nil, f.login.scrubError(slow(ctx, err))
	}
	defer resp.Body.Close()
	ex.proto, ex.status, ex.header = resp.Proto, resp.StatusCode, resp.Header
	if limit >= 0 {
		ex.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
		if int64(len(ex.body)) > limit {
			ex.body, ex.cut = ex.body[:limit], true
		}
	} else {
		ex.body, err = io.ReadAll(resp.Body)
	}
	ex.took = time.Since(ex.started)
	if errors.Is(err, egress.ErrTooLarge) {
		ex.cut, err = true, nil
		f.cut++
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", f.login.scrubError(slow(ctx, err)))
	}
	read := len(ex.body)
	ex.body = decoded(ex)
	f.login.scrub(ex)
	if e := ex.header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		f.encoded++
	}
	f.out.Scanned(1, uint64(read))
	return ex, nil
}

// slow says so when that is why.
func slow(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSlow) {
		return errSlow
	}
	return err
}

// close closes the connections that were kept.
func (f *fetcher) close() {
	if c, ok := f.transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
