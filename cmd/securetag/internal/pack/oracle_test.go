package pack_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack"
)

// git runs git with nobody's configuration but the repository's.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}

// gitFiles is what git itself would not ignore beneath dir.
func gitFiles(t *testing.T, dir string) []string {
	t.Helper()
	out := git(t, dir, "ls-files", "--others", "--cached", "--exclude-standard", "-z")
	files := strings.FieldsFunc(out, func(r rune) bool { return r == 0 })
	slices.Sort(files)
	return files
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// keptNames is what pack does not ignore: what it packs, and what it leaves out
// because the server would not take the name.
func keptNames(t *testing.T, root string) []string {
	t.Helper()
	names, stats := packed(t, root, pack.Config{})
	for _, l := range stats.Left {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

func TestIgnoresWhatGitIgnores(t *testing.T) {
	t.Parallel()
	// Every tree has these files besides; each case adds ignore files.
	tree := []string{
		"a", "b.log", "keep.log", "foo", "build/x", "build/keep", "src/build/y", "src/a.o", "src/deep/er/a.o",
		"src/deep/foo", "docs/foo/bar/x.txt", "docs/x.txt", "foo bar", "foo ", "#hash", "!bang", "a[1]", "a1", "a-", "é.txt", "bad\xff.txt",
		"abc/def", "abcdef", "abc/x/def", "abc/x/y/def", "x**y", "tmp/keep/me", "tmp/drop/me", "UPPER.LOG", "end\\", "-", "]", "t\t",
	}
	for name, ignores := range map[string]map[string]string{
		"nothing":                    {},
		"names and suffixes":         {".gitignore": "*.log\nfoo\n"},
		"negation":                   {".gitignore": "*.log\n!keep.log\n"},
		"order":                      {".gitignore": "!keep.log\n*.log\n"},
		"directory only":             {".gitignore": "build/\nfoo/\n"},
		"anchored":                   {".gitignore": "/build\n/foo\n"},
		"middle slash anchors":       {".gitignore": "src/build\ndeep/foo\n"},
		"no way back into directory": {".gitignore": "build/\n!build/keep\n"},
		"way back through contents":  {".gitignore": "build/*\n!build/keep\n/tmp/*\n!/tmp/keep/\n"},
		"leading stars":              {".gitignore": "**/foo\n"},
		"trailing stars":             {".gitignore": "docs/**\n"},
		"middle stars":               {".gitignore": "abc/**/def\n"},
		"stars stuck to a name":      {".gitignore": "abc**def\nx**y\n"},
		"literal then stars":         {".gitignore": "abc**/def\n"},
		"single star and slash":      {".gitignore": "abc/*/def\n*/foo\n"},
		"comments and blanks":        {".gitignore": "#hash\n\n   \n\\#hash\n\\!bang\n"},
		"trailing spaces":            {".gitignore": "a   \nfoo\\ \nt\t\n"},
		"crlf":                       {".gitignore": "*.log\r\nbuild/\r\n"},
		"bom":                        {".gitignore": "\xef\xbb\xbf*.log\n"},
		"no newline at the end":      {".gitignore": "foo"},
		"nul":                        {".gitignore": "foo\x00bar\na\n"},
		"classes":                    {".gitignore": "a[[:digit:]]\na[!0-9]\n[]-]\n"},
		"class of a bracket":         {".gitignore": "a[[]1[]]\n"},
		"broken class":               {".gitignore": "a[\na[[:nope:]]\n[a-\n"},
		"backslash at the end":       {".gitignore": "a\\\nend\\\\\n"},
		"question marks are bytes":   {".gitignore": "?.txt\n??.log\n"},
		"two bytes":                  {".gitignore": "??.txt\n"},
		"case counts":                {".gitignore": "*.LOG\n"},
		"slashes alone":              {".gitignore": "/\n//\n!\n!/\n"},
		"double slash":               {".gitignore": "build//\nsrc//a.o\n"},
		"everything but":             {".gitignore": "*\n!*/\n!*.o\n"},
		"nested":                     {".gitignore": "*.o\n", "src/.gitignore": "!a.o\n/build\n", "src/deep/.gitignore": "foo\n*.o\n"},
		"nested inside ignored":      {".gitignore": "src/\n", "src/.gitignore": "!*\n"},
		"ignore file ignores itself": {".gitignore": ".gitignore\nfoo\n"},
		"info exclude":               {".git/info/exclude": "*.log\nfoo\n", ".gitignore": "!keep.log\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			git(t, root, "init", "-q")
			for _, f := range tree {
				write(t, root, map[string]string{f: "x"})
			}
			write(t, root, ignores)
			if diff := cmp.Diff(gitFiles(t, root), keptNames(t, root)); diff != "" {
				t.Errorf("-git +pack:\n%s", diff)
			}
		})
	}
}

// TestIgnoresWhatGitIgnoresAtRandom makes one repository of many small trees,
// each with random patterns, so that git has to be asked only once.
func TestIgnoresWhatGitIgnoresAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()
	git(t, root, "init", "-q")
	write(t, root, map[string]string{"z": ""})
	const cases = 300
	ignores := make(map[string]string, cases)
	for i := range cases {
		dir := fmt.Sprintf("%04d/", i)
		for range 14 {
			// A file may be in the way of a directory of another; then it loses.
			path := filepath.Join(root, dir, randomPath(rnd))
			if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
				_ = os.WriteFile(path, nil, 0o644)
			}
		}
		write(t, root, map[string]string{dir + ".gitignore": randomPatterns(rnd)})
		ignores[dir] = dir + ".gitignore"
		if fi, err := os.Stat(filepath.Join(root, dir, "a")); err == nil && fi.IsDir() && rnd.IntN(2) == 0 {
			write(t, root, map[string]string{dir + "a/.gitignore": randomPatterns(rnd)})
		}
	}
	byCase := func(names []string) map[string][]string {
		m := map[string][]string{}
		for _, n := range names {
			dir, _, _ := strings.Cut(n, "/")
			m[dir+"/"] = append(m[dir+"/"], n)
		}
		return m
	}
	want, got := byCase(gitFiles(t, root)), byCase(keptNames(t, root))
	for dir, file := range ignores {
		if diff := cmp.Diff(want[dir], got[dir]); diff != "" {
			patterns, _ := os.ReadFile(filepath.Join(root, file))
			inner, _ := os.ReadFile(filepath.Join(root, dir, "a/.gitignore"))
			t.Errorf("patterns %q, in a %q: -git +pack:\n%s", patterns, inner, diff)
		}
	}
}

func randomPath(r *rand.Rand) string {
	elements := []string{"a", "b", "ab", "ba", "aab", "a.b", "a b", "c-", "[a]", "é", "a*", "!a", "#a", "]a", "a-b"}
	var parts []string
	for range 1 + r.IntN(4) {
		parts = append(parts, elements[r.IntN(len(elements))])
	}
	return strings.Join(parts, "/")
}

func randomPatterns(r *rand.Rand) string {
	pieces := []string{
		"a", "b", "ab", "/", "/", "*", "**", "***", "?", "**/", "/**", "/**/", "[ab]", "[!a]", "[^b]", "[a-b]", "[[:alpha:]]", "[]a]", "[", `\`,
		`\a`, `\*`, `\/`, ".", " ", "-", "!", "#", "[a", "[[a]", "[a-]", "[[:x:]]", "[/]", "é", "\t", `[\a]`, `[\]a]`, "[a-\\b]", "[b-a]",
	}
	var b strings.Builder
	for range 1 + r.IntN(5) {
		if r.IntN(4) == 0 {
			b.WriteByte('!')
		}
		for range 1 + r.IntN(6) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		if r.IntN(8) == 0 {
			b.WriteByte('\r')
		}
		b.WriteByte('\n')
	}
	return b.String()
}
