package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// ByteSize is a number of bytes. As text it has a unit: B, KB, MB, GB, TB
// (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024); without one it is
// bytes.
type ByteSize int64

// The units of 1024.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
	TiB ByteSize = 1 << 40
)

// byteUnit is a unit's factor, by its name in lower case; 0 when there is none.
func byteUnit(name string) int64 {
	switch strings.ToLower(name) {
	case "", "b":
		return 1
	case "kib":
		return int64(KiB)
	case "mib":
		return int64(MiB)
	case "gib":
		return int64(GiB)
	case "tib":
		return int64(TiB)
	case "kb":
		return 1e3
	case "mb":
		return 1e6
	case "gb":
		return 1e9
	case "tb":
		return 1e12
	default:
		return 0
	}
}

// UnmarshalText reads "50MiB", "1.5 GB" or "1048576".
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	unit := byteUnit(strings.TrimSpace(s[end:]))
	if unit == 0 || end == 0 || end > 32 {
		return fmt.Errorf("%.40q is no size", s)
	}
	n, ok := new(big.Rat).SetString(s[:end])
	if !ok {
		return fmt.Errorf("%.40q is no size", s)
	}
	n.Mul(n, new(big.Rat).SetInt64(unit))
	if !n.IsInt() || !n.Num().IsInt64() {
		return fmt.Errorf("%.40q is no whole number of bytes below 8 EiB", s)
	}
	*b = ByteSize(n.Num().Int64())
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String is exact: the largest unit of 1024 that divides b.
func (b ByteSize) String() string {
	for _, u := range []struct {
		size ByteSize
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// BackoffRange is the first and the longest pause between tries: "1s..60s".
type BackoffRange struct {
	Min, Max time.Duration
}

// UnmarshalText reads two durations with ".." between.
func (r *BackoffRange) UnmarshalText(text []byte) error {
	low, high, ok := strings.Cut(string(text), "..")
	if !ok {
		return fmt.Errorf("%.40q is no range", text)
	}
	a, errA := time.ParseDuration(strings.TrimSpace(low))
	b, errB := time.ParseDuration(strings.TrimSpace(high))
	switch {
	case errA != nil || errB != nil:
		return fmt.Errorf("%.40q is no range of durations", text)
	case a > b:
		return errors.New("the range is empty")
	}
	*r = BackoffRange{a, b}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r BackoffRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r BackoffRange) String() string {
	return FormatDuration(r.Min) + ".." + FormatDuration(r.Max)
}

// FormatDuration is time.Duration's text without its trailing zeros: "10m",
// not "10m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Secret is text that is never printed: fmt, JSON and logs show a placeholder,
// only Reveal gives the text. It is kept behind a pointer, so that even a
// printer that ignores methods shows an address. The zero value is empty.
type Secret struct{ text *string }

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// sensitive stands for a secret wherever one would be printed.
const sensitive = "(sensitive)"

// Reveal gives the text itself, for the one place that uses it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both hold the same text.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String is "(sensitive)", or empty for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return sensitive
}

// Format prints String for every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text) // a fmt.State keeps its own errors
}

// MarshalText hides the text; encoding/json and hclog use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// wholeNumber reads a decimal integer.
func wholeNumber(s string) (int, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n > math.MaxInt || n < math.MinInt {
		return 0, fmt.Errorf("%.40q is no whole number", s)
	}
	return int(n), nil
}
