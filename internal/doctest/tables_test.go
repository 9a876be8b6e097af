package doctest_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

var row = regexp.MustCompile("(?m)^\\| `?([a-z0-9_]+)`? \\| ([^|]*) \\|")

// table gives the first two columns of the tables below a heading.
func table(t *testing.T, path, heading string) map[string]string {
	t.Helper()
	_, section, ok := strings.Cut(page(t, path), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", path, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	out := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s, %s: %q stands there twice", path, heading, m[1])
		}
		if m[1] != "code" && m[1] != "state" && m[1] != "metric" {
			out[m[1]] = m[2]
		}
	}
	return out
}

// keys compares the first column with what the code has.
func keys(t *testing.T, path, heading string, want map[string]bool) map[string]string {
	t.Helper()
	shown := table(t, path, heading)
	have := map[string]bool{}
	for k := range shown {
		have[k] = true
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s, %s (-code +page):\n%s", path, heading, diff)
	}
	return shown
}

// TestProblemCodes: each code that an answer can have is on the page, and no
// other, with its status where the code says it in one place.
func TestProblemCodes(t *testing.T) {
	t.Parallel()
	want, status := map[string]bool{}, map[string]string{}
	each(t, "api", func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "kind" && len(n.Elts) == 4 && text(n.Elts[1]) != "" {
				want[text(n.Elts[1])] = true
				status[text(n.Elts[1])] = n.Elts[0].(*ast.BasicLit).Value
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "badField" && text(n.Args[0]) != "" {
				want[text(n.Args[0])] = true
			}
		}
	})
	each(t, "host/intake", func(n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "refuse" && text(call.Args[1]) != "" {
			want[text(call.Args[1])] = true
		}
	})
	if !want["internal"] || !want["unknown_part"] || !want["unknown_scan_type"] {
		t.Fatalf("the codes are no longer where this test looks for them; found %v", want)
	}
	for code := range constants(t, "host/workspace", "Code") {
		want["archive_"+code] = true
		status["archive_"+code] = "422"
		if errors.Is(&workspace.ArchiveError{Code: workspace.Code(code)}, host.ErrTooLarge) {
			status["archive_"+code] = "413"
		}
	}
	shown := keys(t, "docs/api.md", "Problems", want)
	for code, s := range status {
		if shown[code] != s {
			t.Errorf("docs/api.md gives %s the status %s, the code %s", code, shown[code], s)
		}
	}
}

func TestJobErrorCodes(t *testing.T) {
	t.Parallel()
	keys(t, "docs/api.md", "Errors of jobs", constants(t, "host", "ErrorCode"))
}

func TestStates(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for _, s := range host.States() {
		want[string(s)] = true
	}
	keys(t, "docs/api.md", "States", want)
}

// TestMetrics: each metric is on the page, and no other.
func TestMetrics(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	each(t, "host/telemetry", func(n ast.Node) {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 && strings.HasPrefix(text(call.Args[0]), "securetag_") {
			want[text(call.Args[0])] = true
		}
	})
	if len(want) < 20 {
		t.Fatalf("the metrics are no longer where this test looks for them; found %v", want)
	}
	keys(t, "docs/operating.md", "Metrics", want)
}

// TestErrorCodesListed: host.ErrorCodes, from which metrics are made, has all.
func TestErrorCodesListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, c := range host.ErrorCodes() {
		listed[string(c)] = true
	}
	if diff := cmp.Diff(constants(t, "host", "ErrorCode"), listed); diff != "" {
		t.Errorf("host.ErrorCodes (-constants +listed):\n%s", diff)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	each(t, "cmd/securetag/internal/report", func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Exit") {
			return
		}
		want[spec.Values[0].(*ast.BasicLit).Value] = true
	})
	keys(t, "docs/operating.md", "Exit codes", want)
}

// each visits the sources of a package, less its tests.
func each(t *testing.T, dir string, visit func(ast.Node)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(repository, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			visit(n)
			return true
		})
	}
}

// constants are the values of a package's constants of a string type.
func constants(t *testing.T, dir, typ string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	each(t, dir, func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typ {
			out[text(spec.Values[0])] = true
		}
	})
	if len(out) == 0 {
		t.Fatalf("%s has no constants of type %s: this test would prove nothing", dir, typ)
	}
	return out
}

// text is a string literal's value, "" for anything else.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
