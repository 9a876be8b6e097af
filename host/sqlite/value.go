package sqlite

import (
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host/internal/record"
)

// list passes ids to json_each.
func list[T ~string](in []T) string { return record.Encode(in) }

// stamp scans Unix microseconds into a time in UTC; null is the zero time.
type stamp time.Time

// Scan implements sql.Scanner.
func (s *stamp) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s = stamp{}
	case int64:
		*s = stamp(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("a time is of type %T", v)
	}
	return nil
}

func at(t *time.Time) any { return (*stamp)(t) }

// orNull passes the zero time as null.
func orNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMicro())
}
