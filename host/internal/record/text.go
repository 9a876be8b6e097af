package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Clean makes text storable: PostgreSQL refuses NUL and broken UTF-8, and one
// such string must not fail a batch. The host cleans what plugins say long
// before; this is the last line. Every store does it, so that all read back
// the same.
func Clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// CleanAll cleans each; nil stays nil.
func CleanAll(in []string) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = Clean(s)
	}
	return out
}

// Encode gives compact JSON. It panics on what cannot be encoded: every caller
// passes a plain struct or list.
func Encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T for a row: %v", v, err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// decode reads a JSON column that Encode wrote; nil leaves v alone.
func decode(column string, s *string, v any) error {
	if s == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(*s), v); err != nil {
		return fmt.Errorf("read column %s: %w", column, err)
	}
	return nil
}

// IsID reports whether id is a UUID in canonical text. A doorbell or a cursor
// may hold anything.
func IsID[T ~string](id T) bool {
	_, err := host.ParseID[T](string(id))
	return err == nil
}

// Micros is how lengths of time are stored.
func Micros(d time.Duration) int64 { return d.Microseconds() }

// Limit is how many rows a list gives.
func Limit(asked, usual, most int) int {
	if asked <= 0 {
		return usual
	}
	return min(asked, most)
}
