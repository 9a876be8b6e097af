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
	"strconv"
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
	cause        error      // of a 5xx
	head         bool       // only the header is wanted
	streams      time.Time  // since when it is answered with a stream; zero: it is not
}

func (r *record) note(p *problemError) {
	r.code = p.Code
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
	out := &response{ResponseWriter: w, body: b}
	h := w.Header()
	h.Set("X-Request-Id", rec.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")

	inner := r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
	inner.Body = b
	if inner.Method == http.MethodHead {
		inner.Method = http.MethodGet // net/http sends no body to the original
		rec.head = true
	}
	aborted := a.serve(out, inner) //nolint:contextcheck // inner carries it
	if !aborted {
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
		if w.status != 0 && w.status < http.StatusBadRequest {
			aborted = true
			return
		}
		w.status, w.problem = 0, bytes.Buffer{}
		a.writeProblem(w, r, &problemError{Problem: kindInternal().problem("")})
	}()
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
// it. Problems are held back until they are whole: with their length known, a
// client has all of one even while the connection is still being drained.
type response struct {
	http.ResponseWriter
	body    *body
	status  int // 0: nothing answered yet
	problem bytes.Buffer
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
	if status < http.StatusBadRequest {
		w.begin()
	}
}

func (w *response) begin() {
	if w.body.unread() {
		w.Header().Set("Connection", "close")
	}
	// Writers that know no deadline, as in tests, need none.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(answerTime))
	w.ResponseWriter.WriteHeader(w.status)
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK) // unless it was called
	if w.status >= http.StatusBadRequest {
		return w.problem.Write(p)
	}
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

// finish sends what was held back.
func (w *response) finish() {
	if w.status < http.StatusBadRequest {
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(w.problem.Len()))
	w.begin()
	n, _ := w.ResponseWriter.Write(w.problem.Bytes()) // a client that went away needs no answer
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
