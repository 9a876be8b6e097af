package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/securetaghq/securetag/host/internal/record"
)

// ids gives the canonical UUIDs among in as text: a doorbell or a cursor may
// hold anything, and PostgreSQL would fail the whole statement because of it.
func ids[T ~string](in []T) []string {
	out := make([]string, 0, len(in))
	for _, id := range in {
		if record.IsID(id) {
			out = append(out, string(id))
		}
	}
	return out
}

// stamp scans a timestamptz into a time in UTC; null is the zero time.
type stamp time.Time

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (s *stamp) ScanTimestamptz(v pgtype.Timestamptz) error {
	*s = stamp{}
	if v.Valid {
		*s = stamp(v.Time.UTC())
	}
	return nil
}

func at(t *time.Time) any { return (*stamp)(t) }

// orNull passes the zero time as null.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
