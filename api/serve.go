package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

// answerTime is how long a client may take to read an answer.
const answerTime = time.Minute

// record is what the access log says of a request; it travels in its context.
type record struct {
	id     string
	route  string // the path template; "" when no route matched
	tenant host.TenantID
	plan   host.Plan // what the tenant may use; zero before it is known
	// operator is who asks below /admin.
	operator     host.KeyID
	operatorName string
	key          host.KeyID // the tenant's
	denied       error      // what the key may not do, good as it is
	target       string     // what it is about, for the audit log
	client       netip.Addr // where it comes from, as far as that can be trusted
	code         string     // of the problem, if it is one
	status       int        // the same
	body         *body
	cause        error     // of a 5xx
	head         bool      // only the header is wanted
	streams      time.Time // since when it is answered with a stream; zero: it is not
}

func (r *record) note(p *problemError) {
	r.code, r.status = p.Code, p.Status
	if p.Status >= http.StatusInternalServerError {
		r.cause = p.cause
	}
}

type recordKey struct{}

// recordOf gives the request's record; there always is one inside ServeHTTP.
func recordOf(ctx context.Context) *record {
	rec, _ := ctx.Value(recordKey{}).(*record)
	return rec
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rec := &record{id: requestID(r.Header.Get("X-Request-Id")), client: a.limits.Load().Proxies.clientOf(r)}
	b := newBody(w, r, a.cfg)
	rec.body = b
	out := &response{ResponseWriter: w, body: b, asked: askedBy(r)}
	h := w.Header()
	h.Set("X-Request-Id", rec.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")

	inner := r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
	inner.Body = b
	if inner.Method == http.MethodHead {
		inner.Method = http.MethodGet // net/http sends no body to the original
		rec.head = true
	}
	aborted := a.serve(out, inner) //nolint:contextcheck // inner carries it
	if !aborted {
		if out.holds && rec.status != 0 {
			out.status = rec.status // huma has set its own, whatever became of its error
		}
		out.finish()
		b.drain()
	}
	took := time.Since(start)
	answered := took
	if !rec.streams.IsZero() { // a stream may go on for hours
		answered = rec.streams.Sub(start)
	}
	a.deps.Meter.Answered(rec.route, out.status, answered)
	a.logRequest(r, out, rec, took)
	if aborted {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
}

// serve routes the request and turns a panic into a 500, or reports that the
// answer had begun and must be cut off.
func (a *API) serve(w *response, r *http.Request) (aborted bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // a panic value is compared by identity, as net/http does
			aborted = true
			return
		}
		rec := recordOf(r.Context())
		a.log.Error("handler panicked", "request", rec.id, "route", rec.route, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if w.sent {
			aborted = true
			return
		}
		w.status, w.holds, w.held = 0, false, bytes.Buffer{}
		a.writeProblem(w, r, &problemError{Problem: kindInternal().problem("")})
	}()
	if a.cors != nil {
		a.cors.HandlerFunc(w, r)
		if preflight(r) {
			return false // answered
		}
	}
	if err := w.body.refused; err != nil {
		a.writeProblem(w, r, err)
		return false
	}
	a.router.ServeHTTP(w, r)
	return false
}

func (a *API) logRequest(r *http.Request, w *response, rec *record, took time.Duration) {
	level := hclog.Info
	switch {
	case w.status >= http.StatusInternalServerError && w.status != http.StatusNotImplemented && rec.cause != nil:
		level = hclog.Error
	case rec.route == "/healthz" || rec.route == "/readyz":
		level = hclog.Debug
	}
	args := []any{
		"request", rec.id, "method", r.Method, "route", rec.route, "status", w.status,
		"ms", took.Milliseconds(), "in", w.body.count, "out", w.written, "remote", r.RemoteAddr,
		"client", rec.client,
	}
	if rec.tenant != "" {
		args = append(args, "tenant", rec.tenant)
	}
	if rec.operator != "" {
		args = append(args, "operator", rec.operator)
	}
	if rec.code != "" {
		args = append(args, "problem", rec.code)
	}
	if rec.cause != nil {
		args = append(args, "error", rec.cause)
	}
	a.log.Log(level, "request", args...)
}

var saneID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID takes the client's id when it can be logged and shown as it is.
func requestID(given string) string {
	if saneID.MatchString(given) {
		return given
	}
	return rand.Text()
}

// response counts what is answered and gives the client a bounded time to read
// it. Problems, and whatever else is [held], are held back until they are whole:
// with their length known, a client has all of one even while the connection is
// still being drained.
type response struct {
	http.ResponseWriter
	body    *body
	asked   asked
	status  int  // 0: nothing answered yet
	holds   bool // what is written is held back
	held    bytes.Buffer
	sent    bool // the client has some of it
	written int64
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	if w.holds = status >= http.StatusBadRequest || held(w.Header()); !w.holds {
		w.begin()
	}
}

func (w *response) begin() {
	w.sent = true
	if w.body.unread() {
		w.Header().Set("Connection", "close")
	}
	// Writers that know no deadline, as in tests, need none.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(answerTime))
	w.ResponseWriter.WriteHeader(w.status)
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK) // unless it was called
	if w.holds {
		return w.held.Write(p)
	}
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

// finish sends what was held back.
func (w *response) finish() {
	if !w.holds {
		return
	}
	var body []byte
	w.status, body = w.asked.represent(w.status, w.Header(), w.held.Bytes())
	w.begin()
	n, _ := w.ResponseWriter.Write(body) // a client that went away needs no answer
	w.written = int64(n)
}

// Server gives the http.Server that serves h with safe limits. Bodies and
// answers have deadlines of their own in this package, so there is no
// ReadTimeout that would cut long uploads.
func Server(h http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}
