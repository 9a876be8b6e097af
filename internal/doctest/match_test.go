package doctest_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// varying is what differs from run to run, and what it becomes on both sides.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`stag(op)?_[a-z0-9]+`), "KEY"},
	{regexp.MustCompile(`\b[A-Z2-7]{26}\b`), "REQUEST"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z|Z)?`), "TIME"},
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`), "DATE"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "HASH"},
	{regexp.MustCompile(`\bin (\d+m)?\d+(\.\d+)?m?s\b`), "in DURATION"},
	{regexp.MustCompile(`\b\d+ B\b|Content-Length: \d+`), "SIZE"},
	{regexp.MustCompile(`"(/[^" ]*)?/securetag-data`), `"DIR/securetag-data`},
	{regexp.MustCompile(`"/[^" ]*/bin/plugins`), `"DIR/bin/plugins`},
	{regexp.MustCompile(` +#`), ` #`}, // lined up behind the longest line, which may not be shown
}

// passing lines come or not, as fast as the machine is.
var passing = regexp.MustCompile(`^(uploading \d+ %|[a-z-]+: running.*|scan \S+ running)$`)

func level(s string) string {
	for _, v := range varying {
		s = v.pattern.ReplaceAllString(s, v.name)
	}
	return s
}

func lines(s string) []string {
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(strings.ReplaceAll(s, "\r", "")), "\n") {
		if line = strings.TrimRight(line, " "); !passing.MatchString(line) {
			out = append(out, level(line))
		}
	}
	return out
}

// sameText says how got differs from what a page shows, "" when it does not.
func sameText(want, got string) string {
	w, g := lines(want), lines(got)
	if fits(w, g) {
		return ""
	}
	return "(-shown +printed):\n" + cmp.Diff(w, g)
}

// fits matches line by line; "..." stands for any number of lines.
func fits(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "...":
		return fits(want[1:], got) || len(got) > 0 && fits(want, got[1:])
	default:
		return len(got) > 0 && want[0] == got[0] && fits(want[1:], got[1:])
	}
}

// sameJSON is sameText for JSON; white space does not count.
func sameJSON(want, got string) string {
	w, err := decode(want)
	if err != nil {
		return fmt.Sprintf("what the page shows is not JSON: %v", err)
	}
	g, err := decode(got)
	if err != nil {
		return fmt.Sprintf("what was printed is not JSON: %v\n%s", err, got)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		return "(-shown +printed):\n" + diff
	}
	return ""
}

func decode(s string) (any, error) {
	var v any
	if err := json.Unmarshal([]byte(level(s)), &v); err != nil {
		return nil, err
	}
	return settle(v), nil
}

// settle takes out of a scan what the machine decides: how large the archive
// is that its tar makes, and the last progress that a job told in time.
func settle(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, archive := v["unpacked_bytes"]; archive {
			delete(v, "size")
		}
		delete(v, "progress")
		for k := range v {
			v[k] = settle(v[k])
		}
	case []any:
		for i := range v {
			v[i] = settle(v[i])
		}
	}
	return v
}
