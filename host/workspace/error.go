package workspace

import (
	"fmt"
	"strconv"

	"github.com/securetaghq/securetag/host"
)

// Code says why an archive was refused. The API shows it; it never changes.
type Code string

const (
	CodeNotAnArchive       Code = "unknown_format"
	CodeUnsupported        Code = "unsupported" // an archive, of a kind or with a feature we do not take
	CodeTruncated          Code = "truncated"
	CodeCorrupt            Code = "corrupt"
	CodeEncrypted          Code = "encrypted"
	CodeEmpty              Code = "empty" // no regular file that a plugin would see
	CodePathEscape         Code = "path_escape"
	CodeBadName            Code = "bad_name"
	CodeDuplicateName      Code = "duplicate_name"
	CodeOverlappingEntries Code = "overlapping_entries"
	CodeSparse             Code = "sparse"
	CodeTooDeep            Code = "too_deep"
	CodeTooManyEntries     Code = "too_many_entries"
	CodeTooLargeUnpacked   Code = "too_large_unpacked"
	CodeFileTooLarge       Code = "file_too_large"
	CodeHeaderTooLarge     Code = "header_too_large"
	CodeRatio              Code = "ratio"
	CodeTooSlow            Code = "too_slow"
)

// ArchiveError is the refusal of an archive. It wraps host.ErrTooLarge when a
// limit was exceeded and host.ErrInvalid otherwise.
type ArchiveError struct {
	Code   Code
	Entry  string // the entry at fault, quoted and cut for display; "" for the archive as a whole
	Detail string // what was wrong, for people
}

func (e *ArchiveError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("archive refused (%s): %s", e.Code, e.Detail)
	}
	return fmt.Sprintf("archive refused (%s): entry %s: %s", e.Code, e.Entry, e.Detail)
}

func (e *ArchiveError) Unwrap() error {
	switch e.Code {
	case CodeTooDeep, CodeTooManyEntries, CodeTooLargeUnpacked, CodeFileTooLarge, CodeHeaderTooLarge, CodeRatio, CodeTooSlow:
		return host.ErrTooLarge
	}
	return host.ErrInvalid
}

// refuse refuses the archive as a whole.
func refuse(code Code, format string, args ...any) error {
	return &ArchiveError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// refuseEntry refuses the archive for one entry's sake.
func refuseEntry(code Code, name string, format string, args ...any) error {
	return &ArchiveError{Code: code, Entry: quoted(name), Detail: fmt.Sprintf(format, args...)}
}

// quoted makes a name safe to show: quoted, escaped, and cut to the end that
// tells most.
func quoted(name string) string {
	const most = 120
	if len(name) > most {
		return "..." + strconv.Quote(name[len(name)-most:])
	}
	return strconv.Quote(name)
}
