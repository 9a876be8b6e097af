package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// What gosec says in its log alone is a failure: that it panicked while it followed
// values, here because the types of a package were taken away.
func TestFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.go"), []byte("package app\n\nfunc Add(a, b int) int { return a + b }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := newFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		whole bool
		want  []string
	}{
		"whole":  {true, nil},
		"broken": {false, []string{"Panic when running SSA analyzer on package: app", "Error building the SSA representation of the package app"}},
	} {
		far := &progress{out: io.Discard}
		a := newAudit(1, false, far)
		p := newWorld(nil, 1).check(f.units[0])
		if !tt.whole {
			clear(p.TypesInfo.Types)
		}
		a.gosecs[0].CheckAnalyzers(p)
		got := far.failures()
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// An engine that says so makes a scan partial, however little it found.
func TestFailedRules(t *testing.T) {
	t.Parallel()
	engine := filepath.Join(t.TempDir(), "engine")
	report := `{"done":true,"built":1,"files":1,"failed":["Error running analyzer G701: of this"]}`
	if err := os.WriteFile(engine, []byte("#!/bin/sh\necho '"+report+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := sdktest.Scan(t, newScanner(engine), map[string]string{"go.mod": goMod, "app.go": "package app\n"}, "{}")
	if r.Status != sdktest.Partial || !strings.Contains(r.Reason, "gosec failed") || !slices.Contains(r.Notes, "gosec failed: Error running analyzer G701: of this") {
		t.Errorf("%s: %s %q", r.Status, r.Reason, r.Notes)
	}
}

// However the engine's output is cut, the report is its last whole line.
func TestListener(t *testing.T) {
	t.Parallel()
	const printed = "first\n\n{\"done\":true}\nhalf"
	for size := 1; size <= len(printed); size++ {
		l := &listener{}
		for rest := printed; rest != ""; {
			n, err := l.Write([]byte(rest[:min(size, len(rest))]))
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		if string(l.report) != `{"done":true}` {
			t.Errorf("in pieces of %d: %q", size, l.report)
		}
	}
}
