package main

import (
	"os"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// small imports nothing that must be checked, which costs most under the race
// detector.
const small = `package app

import (
	"unsafe"
)

func Run(p *int) unsafe.Pointer { return unsafe.Pointer(p) }
`

// Packages load as they do for gosec, whatever their directories are called and
// wherever what they import is.
func TestLoads(t *testing.T) {
	t.Parallel()
	dependent := strings.ReplaceAll(strings.ReplaceAll(small, "func Run", "var _ = y.Y\n\nfunc Run"), "\"unsafe\"\n", "\"unsafe\"\n\t\"example.com/y\"\n")
	const y = "package y\n\nconst Y = 1\n"
	for name, tt := range map[string]struct {
		files         map[string]string
		config        string
		findings      int
		status, notes string
	}{
		"vendored": {map[string]string{"go.mod": goMod + "\nrequire example.com/y v1.2.3\n", "app.go": dependent, "vendor/example.com/y/y.go": y,
			"vendor/modules.txt": "# example.com/y v1.2.3\n## explicit\nexample.com/y\n"}, "{}", 1, sdktest.Succeeded, ""},
		"its own": {map[string]string{"go.mod": "module example.com\n\ngo 1.21\n", "app.go": dependent, "y/y.go": y}, "{}", 1, sdktest.Succeeded, ""},
		"its own, broken": {map[string]string{"go.mod": "module example.com\n\ngo 1.21\n", "app.go": dependent, "y/y.go": y + "\nvar Z int = \"\"\n"}, "{}",
			1, sdktest.Partial, "app.go: was not loaded whole: values were not followed, since what it imports does not load whole: example.com/y"},
		"imports itself":   {map[string]string{"go.mod": "module example.com\n\ngo 1.21\n", "y/y.go": dependent}, "{}", 1, sdktest.Partial, ""},
		"two modules":      {map[string]string{"go.mod": goMod, "app.go": small, "other/go.mod": "module example.com\n\ngo 1.21\n", "other/app.go": dependent, "other/y/y.go": y}, "{}", 2, sdktest.Succeeded, ""},
		"no module":        {map[string]string{"app.go": small}, "{}", 1, sdktest.Succeeded, ""},
		"odd names":        {map[string]string{"go.mod": goMod, "file=a ...(1)/-e.go": small, "testdata/_x/app.go": small}, "{}", 2, sdktest.Succeeded, ""},
		"odd imports":      {map[string]string{"go.mod": goMod, "app.go": small, "odd/a.go": "package odd\n\nimport (\n\t_ \"all\"\n\t_ \"-e\"\n\t_ \"fmt...\"\n)\n"}, "{}", 1, sdktest.Partial, "odd/a.go: was not loaded whole: could not import all"},
		"nothing embedded": {map[string]string{"go.mod": goMod, "app.go": strings.ReplaceAll(small, "func Run", "//go:embed none\nvar none string\n\nfunc Run"), "e.go": "package app\n\nimport _ \"embed\"\n"}, "{}", 1, sdktest.Succeeded, ""},
		"tests": {map[string]string{"go.mod": goMod, "app.go": small, "app_test.go": strings.ReplaceAll(small, "func Run", "func RunTest"), "x_test.go": strings.ReplaceAll(small, "package app", "package app_test")},
			`{"tests": true}`, 3, sdktest.Succeeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sdktest.Scan(t, newScanner(os.Args[0]), tt.files, tt.config)
			if notes := strings.Join(r.Notes, "\n"); r.Status != tt.status || len(r.Findings) != tt.findings || !strings.Contains(notes, tt.notes) {
				t.Errorf("%s: %s, %d findings, want %s, %d\n%s", r.Status, r.Reason, len(r.Findings), tt.status, tt.findings, notes)
			}
		})
	}
}

// What else the go command and go/packages take is not asked of them.
func TestIsImport(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"fmt", "crypto/md5", "example.com/a-b/v2", "golang.org/x/mod/module"} {
		if !isImport(path) {
			t.Errorf("%q is one", path)
		}
	}
	for _, path := range []string{"", "all", "std", "cmd", "tool", "work", "...", "fmt/...", "-e", "./a", "../a", "/etc", "file=/etc/passwd", "pattern=fmt", "fmt@latest", "a b"} {
		if isImport(path) {
			t.Errorf("%q is none", path)
		}
	}
}
