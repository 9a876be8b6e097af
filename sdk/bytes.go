package sdk

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. In settings it is a whole number of bytes or a text such as
// "10MiB" or "2 GB".
type Bytes int64

const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
)

// ParseBytes reads "512", "64KiB", "1.5 MB".
func ParseBytes(s string) (Bytes, error) {
	t := strings.TrimSpace(s)
	i := strings.IndexFunc(t, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(t)
	}
	n, err := strconv.ParseFloat(t[:i], 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a size such as 10MiB", s)
	}
	units := map[string]float64{
		"": 1, "b": 1,
		"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}
	unit, ok := units[strings.ToLower(strings.TrimSpace(t[i:]))]
	if !ok {
		return 0, fmt.Errorf("%.40q is not a size such as 10MiB", s)
	}
	if n *= unit; n >= math.MaxInt64 || n != math.Trunc(n) {
		return 0, fmt.Errorf("%.40q is not a whole number of bytes below 8 EiB", s)
	}
	return Bytes(n), nil
}

func (b Bytes) String() string {
	for _, u := range []struct {
		size Bytes
		name string
	}{{GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
