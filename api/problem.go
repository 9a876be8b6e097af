package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/host/permission"
)

const (
	problemBase = "https://securetag.dev/problems/"
	problemType = "application/problem+json"
)

// Errors of this package that have no sentinel in host.
var (
	errMalformed = errors.New("malformed request")
	errMediaType = errors.New("unsupported media type")
	errTooSlow   = error(slowError{})
)

// slowError is a net.Error, by which huma tells a timeout.
type slowError struct{}

func (slowError) Error() string   { return "request body too slow" }
func (slowError) Timeout() bool   { return true }
func (slowError) Temporary() bool { return false }

// kind is a sort of problem: what does not change between its occurrences.
type kind struct {
	status      int
	code, title string
	detail      string // when nothing better is known
}

func (k kind) problem(detail string) client.Problem {
	if detail == "" {
		detail = k.detail
	}
	return client.Problem{Type: problemBase + k.code, Title: k.title, Status: k.status, Code: k.code, Detail: detail}
}

func kindInternal() kind {
	return kind{500, "internal", "Internal error", "Something went wrong inside this host. Quote the request id when you ask its operator."}
}

func kindNotFound() kind {
	return kind{404, "not_found", "Not found", "There is no scan with this id."}
}

func kindMethodNotAllowed() kind {
	return kind{405, "method_not_allowed", "Method not allowed", ""}
}

func kindInvalid() kind {
	return kind{422, "invalid", "Invalid request", "The request was understood, and something in it is wrong."}
}

func kindMalformed() kind {
	return kind{400, "malformed", "Malformed request", "The request could not be read."}
}

func kindDigest() kind {
	return kind{400, "digest_mismatch", "Digest mismatch", "The body is not what its Content-Digest says: it was changed on the way, or the digest is of something else."}
}

func kindUnavailable() kind {
	return kind{503, "unavailable", "Temporarily unavailable", "A server that this host needs does not answer. Try again."}
}

func kindRateLimited() kind {
	return kind{429, "rate_limited", "Too many requests", "There were too many requests. Try again later."}
}

func kindTooManyReports() kind {
	return kind{429, "too_many_reports", "Too many reports at once", fmt.Sprintf("At most %d reports of a tenant are written at a time. Read one to its end, then ask again.", reportsAtOnce)}
}

// kinds is the one table from error to problem; the first match counts.
func kinds() []struct {
	err error
	kind
} {
	return []struct {
		err error
		kind
	}{
		{errTooSlow, kind{408, "request_timeout", "Request timeout", "The request body came too slowly, or stopped."}},
		{errDigest, kindDigest()},
		{errMalformed, kindMalformed()},
		{errMediaType, kind{415, "unsupported_media_type", "Unsupported media type", "The body has a content type that this route does not read."}},
		{host.ErrUnauthorized, kind{401, "unauthorized", "Unauthorized", "A valid API key is required, as X-API-Key or as Authorization: Bearer."}},
		{host.ErrNotPermitted, kind{403, "target_not_permitted", "Target not permitted", "Your tenant has not shown that it may have this target scanned."}},
		{host.ErrOverQuota, kind{403, "quota_exceeded", "Over quota", "Your plan has no room for this."}},
		{host.ErrNotFound, kindNotFound()},
		{host.ErrTooLarge, kind{413, "too_large", "Too large", "The request is larger than this host takes."}},
		{host.ErrInvalid, kindInvalid()},
		{host.ErrStale, kind{412, "precondition_failed", "Precondition failed", "It has changed since the version in If-Match. Read it again."}},
		{host.ErrConflict, kind{409, "conflict", "Conflict", "The state of the scan forbids this."}},
		{host.ErrNoPlugin, kind{501, "no_plugin", "No plugin configured", "No plugin is configured for this scan type."}},
		{host.ErrUnavailable, kindUnavailable()},
		{context.DeadlineExceeded, kindUnavailable()},
		{context.Canceled, kind{499, "client_closed", "Client closed the request", "The client went away."}},
	}
}

// problemError is an answer that is no success. It is what handlers return to
// huma.
type problemError struct {
	client.Problem
	header http.Header // to send along; nil for none
	cause  error       // for the log; nil when the problem says it all
}

func (p *problemError) Error() string           { return p.Title + ": " + p.Detail }
func (p *problemError) Unwrap() error           { return p.cause }
func (p *problemError) GetStatus() int          { return p.Status }
func (p *problemError) GetHeaders() http.Header { return p.header }

// pointerFunc says where in the request a field is.
type pointerFunc func(field string) string

func inForm(field string) string { return "form." + field }
func inBody(field string) string { return "#/" + field }

// problemOf finds the problem that err is. at is needed where err can be an
// intake.Refusal.
func problemOf(err error, at pointerFunc) *problemError {
	var known *problemError
	if errors.As(err, &known) {
		return known
	}
	p := &problemError{Problem: kindInternal().problem(""), cause: err}
	for _, row := range kinds() {
		if errors.Is(err, row.err) {
			p.Problem = row.problem("")
			break
		}
	}
	var refusal *intake.Refusal
	if errors.As(err, &refusal) && p.Status != http.StatusInternalServerError {
		p.describe(refusal, at)
	}
	p.describeShortage(err)
	var soon *permission.TooSoon
	if errors.As(err, &soon) {
		p.Problem = kindRateLimited().problem(fmt.Sprintf("This target was looked for less than %v ago. Try again after that.", soon.Pause))
		p.header = http.Header{"Retry-After": {strconv.Itoa(max(1, int(soon.Pause/time.Second)))}}
	}
	switch p.Status {
	case http.StatusUnauthorized:
		p.header = http.Header{"Www-Authenticate": {`Bearer realm="securetag"`}}
	case http.StatusServiceUnavailable:
		p.header = http.Header{"Retry-After": {"5"}}
	}
	return p
}

// describe tells the problem in the refusal's words.
func (p *problemError) describe(refusal *intake.Refusal, at pointerFunc) {
	p.Detail = refusal.Detail
	if refusal.Code != "" {
		p.Code, p.Type = refusal.Code, problemBase+refusal.Code
		if refusal.Field == "file" {
			p.Title = "Archive refused"
		}
	}
	if at != nil {
		for _, f := range refusal.Faults {
			p.Errors = append(p.Errors, client.ProblemError{Pointer: at(f.Field), Detail: f.Detail})
		}
	}
	if len(p.Errors) == 0 && refusal.Field != "" && at != nil {
		p.Errors = []client.ProblemError{{Pointer: at(refusal.Field), Detail: refusal.Detail}}
	}
}

// writeProblem answers where huma does not.
func (a *API) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err, nil)
	rec := recordOf(r.Context())
	rec.note(p)
	out := p.Problem
	out.RequestID = rec.id
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(out) // strings and numbers always encode
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(body.Bytes()) // a client that went away needs no answer
}

// transform is huma's last step before it writes a body: every error, its own
// ones too, leaves as a Problem.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	var p *problemError
	switch v := v.(type) {
	case *problemError:
		p = v
	case *huma.ErrorModel:
		p = fromHuma(v)
	default:
		linkNext(ctx, v)
		return v, nil
	}
	rec := recordOf(ctx.Context())
	if errors.Is(rec.body.failed, errDigest) { // huma says only that it could not read
		p = problemOf(errDigest, nil)
	}
	rec.note(p)
	ctx.SetHeader("Content-Type", problemType)
	out := p.Problem
	out.RequestID = rec.id
	return out, nil
}

// fromHuma translates what huma found wrong by itself. The offending values
// that it echoes are left out: they may be secrets, and are the client's own.
func fromHuma(m *huma.ErrorModel) *problemError {
	k := kindInvalid()
	switch m.Status {
	case http.StatusInternalServerError:
		// Of huma's own only "cannot read request body": the client's doing.
		return &problemError{Problem: kindMalformed().problem("The request body is cut off.")}
	case http.StatusUnprocessableEntity:
	default:
		for _, row := range kinds() {
			if row.status == m.Status {
				k = row.kind
			}
		}
		if k.status != m.Status {
			k = kind{m.Status, strings.ToLower(strings.ReplaceAll(http.StatusText(m.Status), " ", "_")), http.StatusText(m.Status), ""}
		}
	}
	p := &problemError{Problem: k.problem("")}
	for _, e := range m.Errors {
		if e == nil {
			continue
		}
		p.Errors = append(p.Errors, client.ProblemError{Pointer: pointer(e.Location), Detail: e.Message})
	}
	if len(p.Errors) == 1 {
		p.Detail = strings.TrimSuffix(p.Errors[0].Detail, ".") + "."
	}
	return p
}

var indexed = regexp.MustCompile(`\[(\d+)\]`)

// pointer turns huma's "body.a[0].b" into "#/a/0/b"; parameters stay
// "query.limit".
func pointer(location string) string {
	rest, ok := strings.CutPrefix(location, "body")
	if !ok || rest != "" && rest[0] != '.' && rest[0] != '[' {
		return location
	}
	return "#" + strings.ReplaceAll(indexed.ReplaceAllString(rest, ".$1"), ".", "/")
}
