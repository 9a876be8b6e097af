package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/tools/go/packages"
)

// world is what the packages of a module share: what they import, checked from
// source, since the go command would have to compile it to say what is in it.
type world struct {
	fset   *token.FileSet
	sizes  types.Sizes
	found  map[string]*packages.Package // by import path
	tokens chan struct{}                // who has one checks an import

	mu   sync.Mutex
	deps map[string]*dep // by ID
}

// dep is a package that is imported. Of its syntax nothing is kept.
type dep struct {
	once  sync.Once
	types *types.Package // nil: there is none
	why   string         // then
	whole bool           // it and all that it imports
}

func newWorld(found map[string]*packages.Package, workers int) *world {
	return &world{
		fset: token.NewFileSet(), sizes: types.SizesFor("gc", build.Default.GOARCH), found: found,
		tokens: make(chan struct{}, workers), deps: map[string]*dep{},
	}
}

// dep is the package, checked. Imports have no cycles: go/packages cuts them.
func (w *world) dep(p *packages.Package) *dep {
	w.mu.Lock()
	d := w.deps[p.ID]
	if d == nil {
		d = &dep{}
		w.deps[p.ID] = d
	}
	w.mu.Unlock()
	d.once.Do(func() { w.load(d, p) })
	return d
}

func (w *world) load(d *dep, p *packages.Package) {
	if p.PkgPath == "unsafe" {
		d.types, d.whole = types.Unsafe, true
		return
	}
	if len(p.GoFiles) == 0 {
		d.why = "no Go files"
		if len(p.Errors) > 0 {
			d.why = p.Errors[0].Msg
		}
		return
	}
	d.whole = w.all(p.Imports) && len(p.Errors) == 0
	w.tokens <- struct{}{}
	defer func() { <-w.tokens }()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(w.fset, name, nil, parser.SkipObjectResolution)
		d.whole = d.whole && err == nil
		if f != nil {
			files = append(files, f)
		}
	}
	conf := w.config(p.Imports, func(error) { d.whole = false })
	conf.IgnoreFuncBodies = true
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	d.types = types.NewPackage(p.PkgPath, p.Name)
	if err := types.NewChecker(conf, w.fset, d.types, nil).Files(files); err != nil {
		d.whole = false
	}
}

// all checks what is imported, at once as far as there are tokens, and says
// whether it is whole.
func (w *world) all(imports map[string]*packages.Package) bool {
	var checking sync.WaitGroup
	for _, p := range imports {
		checking.Go(func() { w.dep(p) })
	}
	checking.Wait()
	for _, p := range imports {
		if !w.dep(p).whole {
			return false
		}
	}
	return true
}

func (w *world) config(imports map[string]*packages.Package, failed func(error)) *types.Config {
	return &types.Config{Sizes: w.sizes, Error: failed, Importer: importer(func(path string) (*types.Package, error) {
		if path == "unsafe" {
			return types.Unsafe, nil
		}
		p := imports[path]
		if p == nil {
			return nil, errors.New("the go command does not know it")
		}
		d := w.dep(p)
		if d.types == nil {
			return nil, errors.New(d.why)
		}
		return d.types, nil
	})}
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }

// check makes of a unit what gosec's own loading makes of it.
func (w *world) check(u unit) *packages.Package {
	p := &packages.Package{
		ID: u.path, PkgPath: u.path, Name: u.name, GoFiles: u.files, CompiledGoFiles: u.files,
		Fset: w.fset, TypesSizes: w.sizes, Imports: map[string]*packages.Package{}, Types: types.NewPackage(u.path, u.name),
		TypesInfo: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
			Implicits: map[ast.Node]types.Object{}, Instances: map[*ast.Ident]types.Instance{}, Scopes: map[ast.Node]*types.Scope{},
			Selections: map[*ast.SelectorExpr]*types.Selection{}, FileVersions: map[*ast.File]string{},
		},
	}
	for _, name := range u.files {
		// Rules use ast.Object, which the other mode leaves out.
		f, err := parser.ParseFile(w.fset, name, nil, parser.AllErrors|parser.ParseComments)
		if err != nil {
			p.Errors = append(p.Errors, problems(name, err)...)
		}
		if f != nil {
			p.Syntax = append(p.Syntax, f)
			w.imports(f, p.Imports)
		}
	}
	whole := w.all(p.Imports)
	conf := w.config(p.Imports, func(err error) { p.Errors = append(p.Errors, problems(u.files[0], err)...) })
	if err := types.NewChecker(conf, w.fset, p.Types, p.TypesInfo).Files(p.Syntax); err != nil && len(p.Errors) == 0 {
		p.Errors = problems(u.files[0], err)
	}
	if !whole && len(p.Errors) == 0 {
		p.Errors = []packages.Error{{Pos: u.files[0], Msg: "values were not followed, since what it imports does not load whole: " + w.broken(p.Imports)}}
	}
	p.IllTyped = len(p.Errors) > 0
	return p
}

func (w *world) imports(f *ast.File, imports map[string]*packages.Package) {
	for _, spec := range f.Imports {
		path := strings.Trim(spec.Path.Value, "\"`")
		if p := w.found[path]; p != nil {
			imports[path] = p
		}
	}
}

func (w *world) broken(imports map[string]*packages.Package) string {
	var paths []string
	for path, p := range imports {
		if !w.dep(p).whole {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return strings.Join(paths, ", ")
}

// forget lets go of a unit's files, when gosec has seen them.
func (w *world) forget(p *packages.Package) {
	for _, f := range p.Syntax {
		if file := w.fset.File(f.FileStart); file != nil {
			w.fset.RemoveFile(file)
		}
	}
}

// problems are those of an error, as go/packages has them: of the parser or of the
// checker.
func problems(file string, err error) []packages.Error {
	var (
		unread *fs.PathError
		parsed scanner.ErrorList
		typed  types.Error
	)
	switch {
	case errors.As(err, &unread):
		return []packages.Error{{Pos: unread.Path + ":1", Msg: unread.Err.Error(), Kind: packages.ParseError}}
	case errors.As(err, &parsed):
		var all []packages.Error
		for _, e := range parsed {
			all = append(all, packages.Error{Pos: e.Pos.String(), Msg: e.Msg, Kind: packages.ParseError})
		}
		return all
	case errors.As(err, &typed):
		return []packages.Error{{Pos: typed.Fset.Position(typed.Pos).String(), Msg: typed.Msg, Kind: packages.TypeError}}
	}
	return []packages.Error{{Pos: file, Msg: fmt.Sprint(err)}}
}
