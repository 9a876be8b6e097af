package egress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/securetaghq/securetag/host"
)

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// transport looks at each request, also at those that a redirect made.
type transport struct {
	guard *Guard
	base  *http.Transport
}

// Transport makes a transport whose requests all pass the guard. It keeps no
// connection and asks for no compression, so that what is read is what was sent.
func (g *Guard) Transport() http.RoundTripper {
	return &transport{g, &http.Transport{
		DialContext:            g.DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.CheckURL(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{resp.Body, t.guard.cfg.MaxBody}
	return resp, nil
}

// bounded is a body that may not go on for ever.
type bounded struct {
	io.ReadCloser
	left int64
}

// Read wraps host.ErrTooLarge when there is more than allowed.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, b.left = int(b.left), 0
		return n, fmt.Errorf("read the answer: %w", host.ErrTooLarge)
	}
	b.left -= int64(n)
	return n, err
}

// Client makes a client over Transport, with the guard's bounds. It has no
// cookies, and what a redirect leads to gets no credentials.
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
