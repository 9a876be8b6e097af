package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/securetaghq/securetag/host"
)

// expectTime is how long a refused client that asked first may still begin to
// send.
const expectTime = time.Second

// body is a request body that must come at a pace and whose end is known.
//
// Pace: each window has a deadline by which its quota of bytes must be here;
// then the next window begins. A client that sends a byte now and then to keep
// a connection busy loses it after one window, however long it has been fast.
// At the end of the body the deadline is taken away: the server keeps reading
// in the background to notice a client that hangs up, and a deadline there
// would cancel the request.
//
// End: a request is often refused before its body was read. net/http then
// closes the connection under the client that is still sending, and many
// clients never see the answer. So a refused request is answered with
// "Connection: close", and what the client still sends is read and thrown away
// for a bounded time and size. That needs net/http's full duplex mode: without
// it the server gives up the body as soon as the answer begins.
type body struct {
	io.ReadCloser
	w       http.ResponseWriter
	rc      *http.ResponseController
	cfg     Config
	http1   bool
	expects bool // 100-continue: the client waits for the first Read, or should
	touched bool
	ended   bool // the end was seen, or there is no body
	failed  error
	refused error    // what is wrong with its header
	digests *digests // of what was read; nil: nobody asked
	window  int64    // bytes in this window
	count   int64
}

func newBody(w http.ResponseWriter, r *http.Request, cfg Config) *body {
	b := &body{
		ReadCloser: r.Body, w: w, rc: http.NewResponseController(w), cfg: cfg,
		http1:   r.ProtoMajor == 1,
		expects: r.Header.Get("Expect") != "",
		ended:   r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0,
	}
	if r.Body == nil {
		b.ReadCloser = http.NoBody
	}
	b.digests, b.refused = digestsOf(r.Header)
	if b.ended && b.refused == nil { // nothing will be read that could be compared
		b.refused = b.digests.check()
	}
	if b.http1 && !b.ended {
		_ = b.rc.EnableFullDuplex() // a writer that cannot, as in tests, has no connection to lose
	}
	return b
}

// unread reports whether the connection may still carry some of the body.
func (b *body) unread() bool { return b.http1 && !b.ended }

// Close leaves the rest to drain and to the server.
func (b *body) Close() error { return nil }

// Read wraps errTooSlow when the pace was not kept, errMalformed when the body
// ended early or is not well-formed HTTP, and at its end errDigest when it is not
// what was announced.
func (b *body) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if b.ended {
		return 0, io.EOF
	}
	if !b.touched {
		b.touched = true
		b.deadline(b.cfg.BodyWindow)
	}
	n, err := b.ReadCloser.Read(p)
	b.count += int64(n)
	b.window += int64(n)
	b.digests.add(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
		_ = b.rc.SetReadDeadline(time.Time{})
		if b.failed = b.digests.check(); b.failed != nil {
			return n, b.failed
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.failed = fmt.Errorf("read request body: %w", errTooSlow)
		return n, b.failed
	case err != nil:
		b.failed = fmt.Errorf("read request body: %w: %w", errMalformed, err)
		return n, b.failed
	case b.window >= b.cfg.BodyQuota:
		b.window = 0
		b.deadline(b.cfg.BodyWindow)
	}
	return n, err
}

func (b *body) deadline(d time.Duration) {
	_ = b.rc.SetReadDeadline(time.Now().Add(d)) // a writer that knows none, as in tests, needs none
}

// drain sends the answer off and reads what the client is still sending. A
// client that sends more than that finds its connection closed, after the
// moment that MaxBytesReader makes net/http wait for the answer to arrive.
func (b *body) drain() {
	if !b.unread() || b.failed != nil {
		return
	}
	if err := b.rc.Flush(); err != nil {
		return
	}
	wait := b.cfg.DrainTime
	if b.expects && !b.touched {
		// Most likely nothing comes. Some clients only wait so long for the
		// "100 Continue", and send then.
		wait = min(wait, expectTime)
	}
	b.deadline(wait)
	_, err := io.Copy(io.Discard, http.MaxBytesReader(b.w, b.ReadCloser, b.cfg.DrainBytes))
	b.ended = err == nil
}

// budget bounds how much may be read through it; allow moves the bound.
type budget struct {
	r    io.Reader
	left int64
}

// Read wraps host.ErrTooLarge when the budget is used up.
func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("read request body: over its limit: %w", host.ErrTooLarge)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *budget) allow(n int64) { b.left += n }
