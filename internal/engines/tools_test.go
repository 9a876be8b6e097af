package engines_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host/executor"
)

// TestBrokenTools: what an engine needs beside its program is broken, and it
// says so. Each plugin's own tests have more ways; here are those of the real
// tools, and of what the machine refuses these.
func TestBrokenTools(t *testing.T) {
	t.Parallel()
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "go")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil { //nolint:gosec // to be executed
			t.Fatal(err)
		}
		return path
	}
	garbage := filepath.Join(t.TempDir(), "osv")
	if err := os.Mkdir(garbage, 0o755); err != nil { //nolint:gosec // it holds nothing
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(garbage, "advisories.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	goTree := map[string]string{"go.mod": "module example.com/a\n\ngo 1.21\n", "a.go": "package a\n\nimport \"os\"\n\nvar _ = os.Args\n"}
	large := map[string]string{"go.mod": goTree["go.mod"], "a.go": "package a\n\nfunc f(x int) int { return x }\n" + strings.Repeat("\nvar _ = f(1) + f(2) + f(3) + f(4)\n", 50_000)}
	pins := map[string]string{"requirements.txt": "django==3.2.10\n"}
	goroot := goEnv(t, "GOROOT")
	for name, tt := range map[string]struct {
		plugin string
		engine engine
		files  map[string]string
		memory int64
		says   string
	}{
		"gosec, go is killed":       {"gosec", engine{settings: map[string]any{"go": script("kill -9 $$")}}, goTree, 0, "could not be loaded"},
		"gosec, go says nothing":    {"gosec", engine{settings: map[string]any{"go": script("exit 0")}}, goTree, 0, "1 of 1 Go files"},
		"gosec, go fails":           {"gosec", engine{settings: map[string]any{"go": script("echo no toolchain >&2; exit 2")}}, goTree, 0, "could not be loaded"},
		"gosec, no memory":          {"gosec", engine{env: map[string]string{"PATH": goroot + "/bin:/usr/bin:/bin"}, read: []string{goroot}}, large, 64 << 20, ""},
		"sarif, no memory":          {"sarif", engine{settings: map[string]any{"command": "tail", "args": []string{"/dev/zero", "{target}"}}}, pins, 96 << 20, ""},
		"dependencies, no database": {"dependencies", engine{settings: map[string]any{"database": "/nonexistent/osv"}}, pins, 0, "the database cannot be read"},
		"dependencies, no SQLite":   {"dependencies", engine{settings: map[string]any{"database": garbage}}, pins, 0, "the database cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := tt.engine
			e.tree = func(*testing.T) map[string]string { return tt.files }
			if e.env == nil {
				e.env = map[string]string{"PATH": "/usr/bin:/bin"}
			}
			p := e.plugin(t, tt.plugin)
			if tt.memory > 0 {
				p.Sandbox, p.Limits.Memory, p.MaxSilence = executor.BestEffort, tt.memory, time.Minute
			}
			got := run(t.Context(), t, e, p, nil)
			if !got.bad(tt.says) {
				t.Errorf("%s; want %q", got, tt.says)
			}
		})
	}
	// What was never set up is no failure of each scan, and no silence either.
	t.Run("dependencies, not given one", func(t *testing.T) {
		t.Parallel()
		e := engine{tree: func(*testing.T) map[string]string { return pins }}
		if got := run(t.Context(), t, e, e.plugin(t, "dependencies"), nil); got.err != nil || !got.warned("not matched against vulnerabilities") {
			t.Errorf("%s; want a warning", got)
		}
	})
}
