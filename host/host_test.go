package host_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func split(s string) []string { return strings.Fields(s) }

func TestParseID(t *testing.T) {
	t.Parallel()
	id := host.NewScanID()
	if got, err := host.ParseID[host.ScanID](string(id)); got != id || err != nil {
		t.Errorf("%s reads back as %q, %v", id, got, err)
	}
	const good = "0195f0a0-0000-7000-8000-00000000000a"
	for _, bad := range []string{
		"", "nonsense", good[:35], good + "0", " " + good, good + "\n", strings.ToUpper(good),
		"{" + good + "}", "urn:uuid:" + good, strings.ReplaceAll(good, "-", ""),
		strings.Repeat("a", 1<<20), "../" + good[3:], good[:35] + "\x00",
	} {
		got, err := host.ParseID[host.JobID](bad)
		if got != "" || !errors.Is(err, host.ErrNotFound) {
			t.Errorf("%.50q: %q, %v, want ErrNotFound", bad, got, err)
		}
		if len(err.Error()) > 400 {
			t.Errorf("the error for %.50q has %d bytes", bad, len(err.Error()))
		}
	}
}

// TestNewIDs: ids are distinct and sort in the order in which they were made.
func TestNewIDs(t *testing.T) {
	t.Parallel()
	var ids []host.FindingID
	for range 10_000 {
		ids = append(ids, host.NewFindingID())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 10_000 {
		t.Error("ids made one after the other are not in order, or some are the same")
	}
	for _, id := range []string{string(host.NewTenantID()), string(host.NewKeyID()), string(host.NewScanID()), string(host.NewJobID())} {
		if _, err := host.ParseID[host.ScanID](id); err != nil || id[14] != '7' {
			t.Errorf("%q: %v, want a UUID of version 7", id, err)
		}
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	worst := host.Severities()
	if want := split("critical high medium low info unknown"); !slices.EqualFunc(worst, want, func(s host.Severity, w string) bool { return string(s) == w }) {
		t.Errorf("worst first: %v", worst)
	}
	for i, s := range worst {
		if got, err := host.ParseSeverity(string(s)); got != s || err != nil {
			t.Errorf("%s reads back as %q, %v", s, got, err)
		}
		if s.Rank() != i {
			t.Errorf("%s ranks %d, want %d", s, s.Rank(), i)
		}
		for j, threshold := range worst {
			if got := s.AtLeast(threshold); got != (i <= j) {
				t.Errorf("%s at least %s: %v", s, threshold, got)
			}
		}
	}
	for _, bad := range []string{"", "High", "none", "critical "} {
		if got, err := host.ParseSeverity(bad); got != "" || !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
		if s := host.Severity(bad); s.Rank() != host.SeverityUnknown.Rank() || s.AtLeast(host.SeverityInfo) || !s.AtLeast(host.SeverityUnknown) {
			t.Errorf("%q does not count as unknown", bad)
		}
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var c host.Counts
	for i, s := range host.Severities() {
		c.Add(s, i+1)
	}
	c.Add("made up", 10)
	c.Add("", 20)
	if diff := cmp.Diff(host.Counts{Critical: 1, High: 2, Medium: 3, Low: 4, Info: 5, Unknown: 36}, c); diff != "" {
		t.Error(diff)
	}
	if c.Total() != 51 {
		t.Errorf("total %d", c.Total())
	}
	other := host.Counts{Critical: 100, High: 200, Medium: 300, Low: 400, Info: 500, Unknown: 600}
	sum := c.Plus(other)
	if diff := cmp.Diff(host.Counts{Critical: 101, High: 202, Medium: 303, Low: 404, Info: 505, Unknown: 636}, sum); diff != "" {
		t.Error(diff)
	}
	if sum != other.Plus(c) || sum.Total() != c.Total()+other.Total() || c.Plus(host.Counts{}) != c {
		t.Error("a sum depends on the order, or loses findings")
	}
}

func TestOptionsFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ options, want, shared string }{
		{``, "", "null"}, {`{}`, "", "null"}, {`null`, "", "null"},
		{`{"secrets":{"max":1}}`, `{"max":1}`, "null"},
		{`{"noop":{"a":1},"secrets":{ "b" : [1, {"c":2}] }}`, `{ "b" : [1, {"c":2}] }`, "null"},
		{`{"noop":{"secrets":{"a":1}}}`, "", "null"},
		{`{"Secrets":{"a":1}}`, "", "null"},
		{`{"secrets":{"a":1}`, "", "null"}, // not what intake stores
		{`[{"secrets":1}]`, "", "null"},
		{`{"depth":3,"mode":"fast","only":["a"],"secrets":{"max":1},"noop":{"b":2}}`, `{"max":1}`, `{"depth":3,"mode":"fast","only":["a"]}`},
	} {
		var options json.RawMessage
		if c.options != "" {
			options = json.RawMessage(c.options)
		}
		own, shared := host.Scan{Options: options}.OptionsFor("secrets")
		text, err := json.Marshal(shared)
		if err != nil || string(own) != c.want || string(text) != c.shared {
			t.Errorf("%s: %s and %s, %v; want %s and %s", c.options, own, text, err, c.want, c.shared)
		}
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	var err error = &host.Fault{Code: host.CodeInternal, Message: "this host could not", Err: cause}
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "this host could not") {
		t.Errorf("got %v", err)
	}
}
