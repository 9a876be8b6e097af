package intake

import (
	"context"
	"errors"
	"fmt"
)

// Refusal is why a request was not accepted, in words meant for who sent it.
// Err wraps the sentinel that says which kind of refusal it is.
type Refusal struct {
	Code   string // more precise than the sentinel; "" when that says enough
	Field  string // which field of the request: "project", "options", "secrets", "url", "file"; "" for none
	Detail string // sentences for people; holds nothing of this host's inside
	// Faults are all that is wrong, when that may be several things; Field and
	// Detail are then the first.
	Faults []Fault
	Err    error
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Field  string // "options/depth"
	Detail string // sentences for people
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %v", r.Detail, r.Err) }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(sentinel error, code, field, format string, args ...any) error {
	return &Refusal{Code: code, Field: field, Detail: fmt.Sprintf(format, args...), Err: sentinel}
}

// RefuseArchive is a CheckFunc's refusal. code is the reason for programs, shown
// with "archive_" before it. entry names the entry at fault, already quoted and
// cut for display, or is "". detail says what was wrong. err wraps
// host.ErrInvalid or host.ErrTooLarge.
func RefuseArchive(code, entry, detail string, err error) *Refusal {
	if entry != "" {
		detail = fmt.Sprintf("Entry %s: %s", entry, detail)
	}
	return &Refusal{Code: "archive_" + code, Field: "file", Detail: detail, Err: err}
}

// archiveRefusal gives back a refusal and hides the sentinels of every other
// error: a blob that went missing is no "not found" of the client's.
func archiveRefusal(err error) error {
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("check archive: %w", err)
	default:
		return fmt.Errorf("check archive: %v", err) //nolint:errorlint // see above
	}
}
