package intake

import (
	"errors"
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// Refusal is why a request was not accepted, in words meant for who sent it.
// Err wraps the sentinel that says which kind of refusal it is.
type Refusal struct {
	Code   string // more precise than the sentinel; "" when that says enough
	Field  string // which field of the request: "project", "options", "url", "file"; "" for none
	Detail string // sentences for people; holds nothing of this host's inside
	Err    error
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %v", r.Detail, r.Err) }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(sentinel error, code, field, format string, args ...any) error {
	return &Refusal{Code: code, Field: field, Detail: fmt.Sprintf(format, args...), Err: sentinel}
}

// archiveRefusal turns what the check said of an archive into a Refusal; every
// other error stays what it is.
func archiveRefusal(err error) error {
	var coded interface {
		error
		ArchiveCode() string
	}
	if !errors.As(err, &coded) || !errors.Is(err, host.ErrInvalid) && !errors.Is(err, host.ErrTooLarge) {
		return fmt.Errorf("check archive: %w", err)
	}
	return &Refusal{Code: coded.ArchiveCode(), Field: "file", Detail: coded.Error(), Err: err}
}
