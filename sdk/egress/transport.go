package egress

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// transport looks at each request, also at those that a redirect made.
type transport struct {
	guard *Guard
	base  *http.Transport
}

// Transport makes a transport whose requests all pass the guard. What is read of
// an answer is bounded by MaxBody, and more is an error that wraps ErrTooLarge.
func (g *Guard) Transport() http.RoundTripper {
	base := &http.Transport{
		DialContext:            g.DialContext,
		DisableKeepAlives:      !g.cfg.KeepAlive,
		DisableCompression:     true, // net/http's own is not bounded as sent
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	if g.cfg.TLS != nil {
		base.TLSClientConfig = g.cfg.TLS.Clone()
	}
	return &transport{g, base}
}

// CloseIdleConnections closes what KeepAlive kept; http.Client calls it.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.CheckURL(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	asked := t.guard.cfg.Decompress && r.Header.Get("Accept-Encoding") == ""
	if asked {
		r = r.Clone(r.Context()) // a RoundTripper leaves the request as it is
		r.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{resp.Body, resp.Body, t.guard.cfg.MaxBody}
	if asked && strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		resp.Body = &bounded{&unzipped{from: resp.Body}, resp.Body, t.guard.cfg.MaxBody}
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	return resp, nil
}

// bounded is a body that may not go on for ever.
type bounded struct {
	from io.Reader
	io.Closer
	left int64
}

// Read wraps ErrTooLarge when there is more than allowed.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if int64(n) > b.left {
		n, b.left = int(b.left), 0
		return n, fmt.Errorf("read the answer: %w", ErrTooLarge)
	}
	b.left -= int64(n)
	return n, err
}

// unzipped takes gzip apart. It begins with the first Read, because a body may
// never come.
type unzipped struct {
	from io.Reader
	zip  *gzip.Reader
	err  error
}

func (u *unzipped) Read(p []byte) (int, error) {
	if u.zip == nil && u.err == nil {
		u.zip, u.err = gzip.NewReader(u.from)
	}
	if u.err != nil {
		return 0, u.err // io.EOF of an empty body as well
	}
	return u.zip.Read(p)
}

// Client makes a client over a Transport of its own, with the guard's bounds. It
// has no cookies, and what a redirect leads to gets no credentials.
func (g *Guard) Client() *http.Client {
	return &http.Client{Transport: g.Transport(), Timeout: g.cfg.Timeout, CheckRedirect: g.redirect}
}

func (g *Guard) redirect(next *http.Request, via []*http.Request) error {
	if g.cfg.Redirects == 0 {
		return http.ErrUseLastResponse
	}
	if len(via) > g.cfg.Redirects {
		return errors.New("too many redirects")
	}
	for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "Webhook-Signature"} {
		next.Header.Del(name)
	}
	return g.CheckURL(next.URL)
}
