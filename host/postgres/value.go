package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/securetaghq/securetag/host"
)

// clean makes text storable: a text column refuses NUL and broken UTF-8, and
// one such string must not fail a batch. The host cleans what plugins say long
// before; this is the last line.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

func cleanAll(in []string) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = clean(s)
	}
	return out
}

// encode gives compact JSON without NUL. It panics on what cannot be encoded:
// every caller passes a plain struct.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("postgres: encode %T: %v", v, err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func encodeProgress(p host.Progress) string {
	p.Phase, p.Unit, p.Message = clean(p.Phase), clean(p.Unit), clean(p.Message)
	return encode(p)
}

func encodeError(e *host.JobError) *string {
	if e == nil {
		return nil
	}
	s := encode(host.JobError{Code: host.ErrorCode(clean(string(e.Code))), Message: clean(e.Message), Attempt: e.Attempt})
	return &s
}

// ids gives the canonical UUIDs among in as text: a doorbell or a cursor may
// hold anything, and PostgreSQL would fail the whole statement because of it.
func ids[T ~string](in []T) []string {
	out := make([]string, 0, len(in))
	for _, id := range in {
		if isID(id) {
			out = append(out, string(id))
		}
	}
	return out
}

func isID[T ~string](id T) bool {
	_, err := host.ParseID[T](string(id))
	return err == nil
}

func micros(d time.Duration) int64 { return d.Microseconds() }

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

func at(t *time.Time) *stamp { return (*stamp)(t) }

// orNull passes the zero time as null.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// text scans a nullable text; null is "".
type text string

// ScanText implements pgtype.TextScanner.
func (s *text) ScanText(v pgtype.Text) error {
	*s = text(v.String)
	return nil
}

// object decodes a JSON column that this package wrote; "" leaves v alone.
func object(column string, s text, v any) error {
	if s == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(s), v); err != nil {
		return fmt.Errorf("read column %s: %w", column, err)
	}
	return nil
}
