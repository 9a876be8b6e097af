package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// Options tune a Client. The zero value is good.
type Options struct {
	// HTTPClient sends the requests; default one of its own over
	// http.DefaultTransport. Redirects are not followed whatever it says, so
	// that the key goes to nobody else.
	HTTPClient *http.Client
	// UserAgent is sent along; default "securetag-client".
	UserAgent string
	// Retries is how often is tried again what may be done twice: reading, and
	// starting a scan by its key. 0 means 4, less than 0 never.
	Retries int
	// MinWait and MaxWait bound the growing pause before a retry or the next
	// poll; default 250 ms and 5 s. A longer Retry-After of the host counts.
	MinWait, MaxWait time.Duration
	// IgnoreRetryAfter polls as MinWait and MaxWait say and no slower: for a
	// host that serves nobody else.
	IgnoreRetryAfter bool
	// SleepFunc waits, and returns early with the context's error when it ends.
	// Default: real time. Tests replace it.
	SleepFunc func(ctx context.Context, d time.Duration) error
}

// Client talks to one host with one key. Safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http http.Client
	opts Options
}

// New makes a Client for the host at baseURL (http or https, with a path when
// the host is served under one). It does not talk to it yet.
func New(baseURL, key string, opts Options) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("server URL: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("server URL %q must be http or https with a host, and without user name, query or fragment", base.Redacted())
	}
	base.Path = strings.TrimRight(base.Path, "/")
	c := &Client{base: base, key: key, opts: opts}
	if opts.HTTPClient != nil {
		c.http = *opts.HTTPClient
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.opts.UserAgent == "" {
		c.opts.UserAgent = "securetag-client"
	}
	if c.opts.Retries == 0 {
		c.opts.Retries = 4
	}
	if c.opts.MinWait <= 0 {
		c.opts.MinWait = 250 * time.Millisecond
	}
	if c.opts.MaxWait < c.opts.MinWait {
		c.opts.MaxWait = max(5*time.Second, c.opts.MinWait)
	}
	if c.opts.SleepFunc == nil {
		c.opts.SleepFunc = sleep
	}
	return c, nil
}

// request describes one call.
type request struct {
	method, path string // path is escaped
	query        url.Values
	contentType  string
	body         io.Reader
	size         int64  // of body; -1: not known
	expect       bool   // ask before sending the body
	key          string // Idempotency-Key; "" for none
	accept       string // default JSON
	lastEventID  string // "": none
}

func (r request) op() string { return r.method + " " + r.path }

// get reads JSON into out, and tries again when that may help.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) (http.Header, error) {
	return c.tryAgain(ctx, func() (http.Header, error) {
		return c.send(ctx, request{method: http.MethodGet, path: path, query: query}, out)
	})
}

// tryAgain does what may be done twice, and does it again when that may help.
func (c *Client) tryAgain(ctx context.Context, do func() (http.Header, error)) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		h, err := do()
		if err == nil || attempt >= c.opts.Retries || !temporary(err) || ctx.Err() != nil {
			return h, err
		}
		pause := c.backoff(attempt)
		var refused *Error
		if errors.As(err, &refused) {
			pause = max(pause, refused.RetryAfter)
		}
		if c.opts.SleepFunc(ctx, pause) != nil {
			return nil, err // what went wrong says more than that time ran out
		}
	}
}

func temporary(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.StatusCode == http.StatusTooManyRequests ||
			refused.StatusCode >= 500 && refused.StatusCode != http.StatusNotImplemented
	}
	var network *NetworkError
	return errors.As(err, &network)
}

// backoff doubles from MinWait to MaxWait, with jitter so that many clients
// do not come back together.
func (c *Client) backoff(attempt int) time.Duration {
	d := min(c.opts.MinWait<<min(attempt, 16), c.opts.MaxWait)
	return d/2 + rand.N(d/2+1)
}

// postJSON sends in (nil for none) once.
func (c *Client) postJSON(ctx context.Context, path string, in, out any) error {
	return c.sendJSON(ctx, http.MethodPost, path, in, out)
}

func (c *Client) sendJSON(ctx context.Context, method, path string, in, out any) error {
	req := request{method: method, path: path}
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		req.contentType, req.body, req.size = "application/json", bytes.NewReader(raw), int64(len(raw))
	}
	_, err := c.send(ctx, req, out)
	return err
}

// do sends one request. Every error is a *NetworkError; the caller closes the
// body and looks at the status.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	target, err := url.Parse(c.base.String() + r.path)
	if err != nil {
		return nil, &NetworkError{r.op(), err}
	}
	target.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), r.body)
	if err != nil {
		return nil, &NetworkError{r.op(), err}
	}
	if r.body != nil {
		req.ContentLength = r.size
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", `"`+r.key+`"`)
	}
	if r.expect {
		req.Header.Set("Expect", "100-continue")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	req.Header.Set("Accept", "application/json")
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.lastEventID != "" {
		req.Header.Set("Last-Event-ID", r.lastEventID)
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // Op says the rest, without the query
		}
		return nil, &NetworkError{r.op(), err}
	}
	return resp, nil
}

// send does one exchange; with out nil the answer's body is of no interest. Every error is an *Error or a *NetworkError.
func (c *Client) send(ctx context.Context, r request, out any) (http.Header, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &NetworkError{r.op(), fmt.Errorf("read answer: %w", err)}
	case len(body) > maxAnswer:
		return nil, &NetworkError{r.op(), fmt.Errorf("the answer is larger than %d bytes", maxAnswer)}
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return resp.Header, readError(resp, body)
	}
	if out == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, &NetworkError{r.op(), fmt.Errorf("the answer is not from a SecureTag host: %w", err)}
	}
	return resp.Header, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
