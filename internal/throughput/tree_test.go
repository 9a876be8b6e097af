package throughput_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// treeFiles and treeBytes are what a generated tree has, about.
const (
	treeFiles = 20_000
	treeBytes = 100_000_000
)

// kind is a sort of file in the tree: its part of the files, and how one is made.
type kind struct {
	of    int // of 1000
	write func(r *rand.Rand, i int) (path, text string)
}

// kinds are what large repositories consist of. Go code is a module that needs
// nothing but the standard library.
var kinds = []kind{
	{150, goFile},
	{420, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("web/app%d/src/module%d.js", i%40, i), code(r, "function handler%d(request, response) {\n  const %s = request.query.%s;\n  return response.send(`<b>${%[2]s}</b>`);\n}\n\n")
	}},
	{260, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("py/service%d/module%d.py", i%30, i), code(r, "def handle_%d(%s, limit=10):\n    result = []\n    for item in %[2]s[:limit]:\n        result.append(item.%[3]s)\n    return result\n\n\n")
	}},
	{20, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("deploy/env%d/app%d.yaml", i%20, i), manifest(r, i)
	}},
	{40, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("deploy/values%d/values%d.yaml", i%20, i), code(r, "part%d:\n  %s:\n    enabled: true\n    size: 3\n    name: %s\n")
	}},
	{100, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("docs/chapter%d/page%d.md", i%50, i), code(r, "## Part %d\n\nThe %s of a system is what its %s makes of it.\n\n")
	}},
	{7, func(r *rand.Rand, i int) (string, string) {
		return fmt.Sprintf("deploy/image%d/Dockerfile", i), fmt.Sprintf("FROM debian:12\nRUN apt-get update && apt-get install -y curl\nCOPY . /srv/%s\nENV TOKEN_%d=none\nCMD [\"/srv/run\"]\n", word(r), i)
	}},
	{3, packageLock},
}

// writeTree fills dir, always with the same; with -short with a tenth of it.
func writeTree(b *testing.B, dir string) (files int, bytes int64) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		files++
		bytes += int64(len(text))
	}
	put("go.mod", "module example.com/large\n\ngo 1.24\n")
	for _, k := range kinds {
		n := k.of * treeFiles / 1000
		if testing.Short() {
			n /= 10
		}
		for i := range n {
			put(k.write(r, i))
		}
	}
	return files, bytes
}

var words = strings.Fields("account address amount balance bucket cache channel client config counter customer cursor digest entry filter handler header index invoice label ledger limit message metric order origin packet parser payload policy queue record region report request result route schema script secret session signal source status stream table target ticket token user value vendor window worker")

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

// code repeats a pattern with a number and two words until the file is as long as
// most are.
func code(r *rand.Rand, pattern string) string {
	var b strings.Builder
	for size := treeBytes/treeFiles*3/4 + r.IntN(treeBytes/treeFiles/2); b.Len() < size; {
		fmt.Fprintf(&b, pattern, b.Len(), word(r), word(r))
	}
	return b.String()
}

const goFunction = `
// %[1]s%[2]d looks up the %[3]s of a %[4]s.
func %[1]s%[2]d(%[3]s string, limit int) (string, error) {
	%[4]s := make([]string, 0, limit)
	for i := range limit {
		%[4]s = append(%[4]s, fmt.Sprintf("%%s-%%d", %[3]s, i))
	}
	if len(%[4]s) == 0 {
		return "", errors.New("no %[3]s")
	}
	return strings.Join(%[4]s, ","), nil
}
`

func goFile(r *rand.Rand, i int) (path, text string) {
	const inPackage = 20
	var b strings.Builder
	fmt.Fprintf(&b, "package part%d\n\nimport (\n\t\"errors\"\n\t\"fmt\"\n\t\"os\"\n\t\"strings\"\n)\n\nvar _ = os.Getpid\n", i/inPackage)
	for n := 0; b.Len() < treeBytes/treeFiles; n++ {
		in, list := word(r), word(r)
		fmt.Fprintf(&b, goFunction, fmt.Sprintf("Find%d_", i), n, in+"In", list+"List")
	}
	if i%inPackage == 0 { // something to find
		fmt.Fprintf(&b, "\nfunc read%d(name string) ([]byte, error) { return os.ReadFile(name) }\n", i)
	}
	return fmt.Sprintf("go/part%d/file%d.go", i/inPackage, i), b.String()
}

func manifest(r *rand.Rand, i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s-%d\nspec:\n  template:\n    spec:\n      containers:\n", word(r), i)
	fmt.Fprintf(&b, "      - name: %s\n        image: registry.example.com/%s:1.%d\n        securityContext:\n          privileged: %t\n", word(r), word(r), i, i%7 == 0)
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s-%d\ndata:\n", word(r), i)
	for n := 0; b.Len() < treeBytes/treeFiles*3/4; n++ {
		fmt.Fprintf(&b, "  %s%d: \"%s and %s\"\n", word(r), n, word(r), word(r))
	}
	return b.String()
}

// packageLock names some hundred packages, as those of web applications do.
func packageLock(r *rand.Rand, i int) (path, text string) {
	packages := map[string]any{"": map[string]string{"name": "app", "version": "1.0.0"}}
	for range 300 {
		name := word(r) + "-" + word(r)
		packages["node_modules/"+name] = map[string]any{
			"version": fmt.Sprintf("%d.%d.%d", r.IntN(9), r.IntN(20), r.IntN(20)), "resolved": "https://packages.example.com/" + name + "/-/" + name + ".tgz",
			"integrity": fmt.Sprintf("sha512-%064x", r.Uint64()),
		}
	}
	raw, err := json.MarshalIndent(map[string]any{"name": "app", "lockfileVersion": 3, "packages": packages}, "", "  ")
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("web/lock%d/package-lock.json", i), string(raw)
}

// zipTree packs dir.
func zipTree(b *testing.B, to, dir string) {
	f, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
}
