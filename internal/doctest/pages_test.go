package doctest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/internal/testhost"
)

// built is where TestMain puts the binaries.
var built string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "doctest-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built = dir
	if _, err := exec.LookPath("curl"); err != nil {
		fmt.Fprintln(os.Stderr, "the pages use curl: install it to test them")
		return 1
	}
	for _, b := range []struct{ out, dir, what string }{
		{"securetag", repository, "./cmd/securetag"},
		{"plugins/secrets", filepath.Join(repository, "plugins/secrets"), "."},
		{"plugins/dependencies", filepath.Join(repository, "plugins/dependencies"), "."},
		{"plugins/iac", filepath.Join(repository, "plugins/iac"), "."},
		{"plugins/gosec", filepath.Join(repository, "plugins/gosec"), "."},
		{"plugins/web", filepath.Join(repository, "plugins/web"), "."},
		{"plugins/sarif", filepath.Join(repository, "plugins/sarif"), "."},
	} {
		if err := testhost.Build(b.dir, filepath.Join(dir, b.out), b.what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// pages are README.md and the pages in docs, by their path in the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(repository, "docs", "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more = slices.DeleteFunc(more, func(name string) bool { return filepath.Base(filepath.Dir(name)) == "decisions" })
	all := map[string]string{}
	for _, name := range append(append(names, more...), filepath.Join(repository, "README.md"), filepath.Join(repository, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Rel(repository, name)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	return all
}

func page(t *testing.T, path string) string {
	t.Helper()
	text, ok := pages(t)[path]
	if !ok {
		t.Fatalf("there is no page %s", path)
	}
	return text
}

// TestPages does what the pages say.
func TestPages(t *testing.T) {
	t.Parallel()
	ran := 0
	for path, text := range pages(t) {
		all, err := steps(text)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if len(all) == 0 {
			continue
		}
		ran++
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for _, wrong := range play(t, text) {
				t.Errorf("%s: %s", path, wrong)
			}
		})
	}
	if ran < 4 {
		t.Errorf("%d pages have something to run, want README.md and the pages for clients, operators and plugin authors", ran)
	}
}

// TestDemo: the README shows what the demo prints.
func TestDemo(t *testing.T) {
	t.Parallel()
	all, err := blocks(page(t, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(b block) bool { return b.has("demo") })
	if i < 0 {
		t.Fatal("README.md shows no demo")
	}
	demo := "```sh run\nsh examples/demo.sh\n```\n```text output\n" + all[i].text + "\n```\n"
	for _, wrong := range play(t, demo) {
		t.Error(wrong)
	}
}

// TestWrongPages: what is wrong on a page is found.
func TestWrongPages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ page, want string }{
		"right":            {"```sh run\nbin/securetag config check nope.hcl || echo $?\n```\n```text output\n...\n2\n```\n", ""},
		"wrong output":     {"```sh run\necho one\n```\n```text output\ntwo\n```\n", "line 4: the output differs"},
		"too little":       {"```sh run\necho one\n```\n```text output\none\ntwo\n```\n", "line 4: the output differs"},
		"too much":         {"```sh run\necho one; echo two\n```\n```text output\none\n```\n", "line 4: the output differs"},
		"wrong JSON":       {"```sh run\necho '{\"state\":\"failed\"}'\n```\n```json output\n{\"state\": \"succeeded\"}\n```\n", "line 4: the output differs"},
		"failing command":  {"```sh run\necho before\nfalse\necho after\n```\n", "line 1: the shell ended here (exit status 1), having printed:\nbefore"},
		"unknown command":  {"```sh run\nsecuretagg scan .\n```\n", "line 1: the shell ended here (exit status 127)"},
		"wrong exit code":  {"```sh run exit=1\nfalse; true\n```\n", "line 1: exit code 0, want 1"},
		"unknown mark":     {"```sh runs\ntrue\n```\n", `line 1: a block is marked "runs"`},
		"orphaned output":  {"```text output\none\n```\n", "line 1: an output without"},
		"block of no end":  {"```sh run\ntrue\n", "line 1: the block does not end"},
		"wrong file shown": {"```hcl file=x.hcl\ntpyo = 1\n```\n```sh run\nbin/securetag config check x.hcl\n```\n", "line 4: the shell ended here (exit status 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := strings.Join(play(t, tt.page), "\n")
			if tt.want == "" && wrong != "" || !strings.Contains(wrong, tt.want) {
				t.Errorf("found %q, want %q", wrong, tt.want)
			}
		})
	}
}

// TestIncludes: what a page shows of a file is the file.
func TestIncludes(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range pages(t) {
		all, err := blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, b := range all {
			if !b.has("include") {
				continue
			}
			found++
			file, err := os.ReadFile(filepath.Join(repository, b.marks["include"]))
			if err != nil {
				t.Errorf("%s, line %d: %v", path, b.line, err)
				continue
			}
			if diff := cmp.Diff(strings.TrimSpace(string(file)), strings.TrimSpace(b.text)); diff != "" {
				t.Errorf("%s, line %d: differs from %s (-file +page):\n%s", path, b.line, b.marks["include"], diff)
			}
		}
	}
	if found == 0 {
		t.Error("no page includes a file: this test would prove nothing")
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks: links between files lead somewhere, to a heading where they name
// one.
func TestLinks(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			found++
			file := filepath.Join(repository, filepath.Dir(path), target)
			if target == "" {
				file = filepath.Join(repository, path)
			}
			info, err := os.Stat(file)
			if err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
				continue
			}
			if anchor != "" && !info.IsDir() && !hasAnchor(t, file, anchor) {
				t.Errorf("%s links to %s, and there is no such heading", path, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d links between files: this test would prove nothing", found)
	}
}

func hasAnchor(t *testing.T, file, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
		if strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
