package client

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is an answer of the host that is no success.
type Error struct {
	// Problem is what the host said. When something in between answered
	// instead (a proxy, say), only Title, Status and Detail are filled in.
	Problem
	// StatusCode is the HTTP status.
	StatusCode int
	// RetryAfter is how long the host asks to wait before trying again; 0 when
	// it did not say.
	RetryAfter time.Duration
}

// Error says what was wrong, each thing of it, and the request id.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d)", e.Title, e.StatusCode)
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, p := range e.Errors {
		if p.Detail == e.Detail {
			continue
		}
		fmt.Fprintf(&b, "; %s: %s", p.Pointer, p.Detail)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " [request %s]", e.RequestID)
	}
	return b.String()
}

// NetworkError says that no whole answer came: the host could not be reached,
// or the connection broke. When ctx ended, it wraps the context's error.
type NetworkError struct {
	Op  string // "POST /codeaudit/upload"
	Err error
}

func (e *NetworkError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the error of the transport.
func (e *NetworkError) Unwrap() error { return e.Err }

// readError makes an Error of an answer with its body.
func readError(resp *http.Response, body []byte) *Error {
	e := &Error{StatusCode: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "application/problem+json" && json.Unmarshal(body, &e.Problem) == nil && e.Title != "" {
		return e
	}
	e.Problem = Problem{
		Title:  http.StatusText(resp.StatusCode),
		Status: resp.StatusCode,
		Detail: "The answer is not a problem document, so it may not come from a SecureTag host.",
	}
	if e.Title == "" {
		e.Title = "Unexpected answer"
	}
	return e
}

// retryAfter reads the header in seconds, the only form a host sends. It is
// capped, so that no answer can make a client sleep for days.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 60)) * time.Second
}
