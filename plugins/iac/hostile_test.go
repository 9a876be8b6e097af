package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// laughs is a YAML whose aliases repeat 10^9 values.
func laughs() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// Whatever is in a file, the scan ends soon, says so, and does the others.
func TestHostile(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
	for name, tt := range map[string]struct{ text, note string }{
		"laughs.yaml":           {head + laughs(), "too many values"},
		"itself.yaml":           {head + "spec: &a {b: *a}\n", "too deep"},
		"merge.yaml":            {head + "spec: &a\n  <<: *a\n", ""},
		"deep.yaml":             {head + "spec: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "too deep"},
		"deeper.yaml":           {head + "spec: " + strings.Repeat("{a: ", 100_000), "was not looked at"},
		"deep.json":             {`{"apiVersion": "v1",` + "\n" + `"kind": "Pod", "metadata": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}", "too deep"},
		"many.json":             {`{"apiVersion": "v1",` + "\n" + `"kind": "Pod", "metadata": {}, "spec": [` + strings.Repeat("0,", 300_000) + "0]}", "too many values"},
		"documents.yaml":        {strings.Repeat("---\na: b\n", 2001) + head, "more than 2000 documents"},
		"lists.yaml":            {"apiVersion: v1\nkind: List\nitems:\n- &l {apiVersion: v1, kind: List, items: [*l, *l]}\n", "too deep"},
		"numbers.yaml":          {head + "spec: {a: 99999999999999999999, b: .inf, c: .nan, d: 0o17, e: 1_000, f: 2001-01-01, g: !!binary '//8=', h: !!int x, i: !x y, j: ~}\n", ""},
		"dockerfile/Dockerfile": {"FROM a:1\nRUN <<EOF\n" + strings.Repeat("x\n", 50_000), "unterminated heredoc"},
		"line/Dockerfile":       {"FROM a:1\nRUN " + strings.Repeat("x", 70_000) + "\n", "was not looked at"},
		"shell/Dockerfile":      {"FROM a:1\nRUN " + strings.Repeat("$(", 20_000) + "\n", "no shell scripts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Scan(t, shared, map[string]string{name: tt.text, "ok/Dockerfile": "FROM a:1\nUSER root\n"}, "")
			if got := places(r, "DS-0002"); !slices.Contains(got, "ok/Dockerfile:2-2 DS-0002") {
				t.Errorf("%s %s: the other file: %q", r.Status, r.Reason, got)
			}
			notes := strings.Join(r.Notes, "\n")
			if !strings.Contains(notes, tt.note) || tt.note != "" && r.Status != sdktest.Partial {
				t.Errorf("%s %s: notes %.300q, want %q", r.Status, r.Reason, notes, tt.note)
			}
		})
	}
}
