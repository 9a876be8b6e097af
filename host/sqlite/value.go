package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
)

// clean makes text storable as it is on PostgreSQL, where NUL and broken UTF-8
// would fail a batch. The host cleans what plugins say long before; this is
// the last line.
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
		panic(fmt.Sprintf("sqlite: encode %T: %v", v, err))
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

// list passes ids to json_each.
func list[T ~string](in []T) string { return encode(in) }

func isID[T ~string](id T) bool {
	_, err := host.ParseID[T](string(id))
	return err == nil
}

func micros(d time.Duration) int64 { return d.Microseconds() }

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

func at(t *time.Time) *stamp { return (*stamp)(t) }

// orNull passes the zero time as null.
func orNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMicro())
}

// text scans a nullable text; null is "".
type text string

// Scan implements sql.Scanner.
func (s *text) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s = ""
	case string:
		*s = text(v)
	default:
		return fmt.Errorf("a text is of type %T", v)
	}
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
