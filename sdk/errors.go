package sdk

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// refusal says that the request is wrong and will never work.
type refusal struct{ err error }

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// retryable says that trying again may help.
type retryable struct{ err error }

func (e *retryable) Error() string { return e.err.Error() }
func (e *retryable) Unwrap() error { return e.err }

// notApplicable says that there is nothing in the target to look at.
type notApplicable struct{ reason string }

func (e *notApplicable) Error() string { return e.reason }

// NotApplicable is what Scan returns when there is nothing in the target that
// the scanner looks at: "no Go files". The scan succeeds, the reason is shown,
// and nobody takes it for a clean result of a whole scan. Having found nothing
// wrong is nil.
func NotApplicable(reason string) error { return &notApplicable{reason} }

// Refuse wraps an error of Scan that lies in the request: an option that makes
// no sense, a target of the wrong kind. The host does not try again.
func Refuse(err error) error { return &refusal{err} }

// Retryable wraps an error of Scan that may go away: a server that did not
// answer, a lock that was held. The host tries again, a few times.
func Retryable(err error) error { return &retryable{err} }

// panicked is what became of a panic in the author's code.
type panicked struct {
	value any
	stack []byte
}

func (e *panicked) Error() string { return fmt.Sprintf("the scanner panicked: %v", e.value) }

var (
	errCancelled = errors.New("cancelled")
	errOverdue   = errors.New("the scanner did not stop in time")
	errEnded     = errors.New("the scan has ended")
	errGoexit    = errors.New("the scanner ended its goroutine with runtime.Goexit")
)

// clean makes s valid UTF-8 without NUL and cuts it to at most n bytes.
func clean(s string, n int) string {
	s = cut(s, n) // first, so that the cost does not grow with the text
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return cut(s, n)
}

// cut gives at most n bytes of s and splits no rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > max(n-utf8.UTFMax, -1); i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}

// oneLine is clean for text that must be one line.
func oneLine(s string, n int) string {
	return strings.Join(strings.Fields(clean(s, n)), " ")
}
