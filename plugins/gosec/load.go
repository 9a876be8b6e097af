package main

import (
	"errors"
	"fmt"
	"go/build"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/tools/go/packages"
)

// unit is what gosec looks at as one package. Its path is what the go command
// calls a package of named files, as gosec names them: rules see it.
type unit struct {
	path, name string
	files      []string
}

const unitPath = "command-line-arguments"

// folder is a directory with Go files.
type folder struct {
	dir     string
	units   []unit
	imports []string
	built   int // files that a build here has
	unbuilt int // those for other systems, tags or cgo
}

// newFolder chooses files as gosec does: with tests, those of the package are
// looked at with it once more.
func newFolder(dir string, tests bool) (folder, error) {
	f := folder{dir: dir}
	p, err := build.ImportDir(dir, build.ImportComment)
	var none *build.NoGoError
	if err != nil && !errors.As(err, &none) {
		return f, fmt.Errorf("importing dir %q: %w", dir, err)
	}
	f.add(unitPath, p.Name, p.GoFiles)
	f.imports = p.Imports
	if tests {
		if len(p.TestGoFiles) > 0 {
			f.add(unitPath, p.Name, slices.Concat(p.GoFiles, p.TestGoFiles))
		}
		f.add(unitPath+"_test", p.Name+"_test", p.XTestGoFiles)
		f.imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
	}
	f.built = len(p.GoFiles)
	if tests {
		f.built += len(p.TestGoFiles) + len(p.XTestGoFiles)
	}
	for _, name := range p.IgnoredGoFiles {
		if tests || !strings.HasSuffix(name, "_test.go") {
			f.unbuilt++
		}
	}
	return f, nil
}

func (f *folder) add(path, name string, files []string) {
	if len(files) == 0 {
		return
	}
	u := unit{path: path, name: name}
	for _, file := range files {
		u.files = append(u.files, filepath.Join(f.dir, file))
	}
	f.units = append(f.units, u)
}

// find asks the go command, once for all folders of a module, where what they
// import is, and what that imports. It is not asked for the folders' own packages:
// so their names are no arguments, and nothing in them is compiled.
func find(root string, folders []folder) (map[string]*packages.Package, error) {
	paths := map[string]bool{}
	for _, f := range folders {
		for _, path := range f.imports {
			if isImport(path) {
				paths[path] = true
			}
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	conf := &packages.Config{
		// Without NeedCompiledGoFiles and NeedTypes, for which it would compile.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedModule,
		Dir:  root,
	}
	roots, err := packages.Load(conf, slices.Sorted(maps.Keys(paths))...)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*packages.Package, len(roots))
	for _, p := range roots {
		found[p.PkgPath] = p
	}
	return found, nil
}

// isImport: import paths are the target's, and the go command and the library that
// calls it take more than paths, such as patterns, flags and queries.
func isImport(path string) bool {
	switch path {
	case "all", "std", "cmd", "tool", "work":
		return false
	}
	return module.CheckImportPath(path) == nil
}
