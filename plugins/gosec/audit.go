package main

import (
	"fmt"
	"log"
	"maps"
	"slices"
	"sync"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/rules"
)

// audit runs gosec over directories as its own Process does, but for the loading:
// that asks the go command for each directory, and compiles what it imports.
type audit struct {
	tests  bool
	gosecs []*gosec.Analyzer // one for each worker: it is not safe for two
	mu     sync.Mutex
	errors map[string][]gosec.Error // by package directory or file
	files  map[string]bool          // that were looked at, with tests some twice
}

func newAudit(workers int, tests bool, far *progress) *audit {
	a := &audit{tests: tests, errors: map[string][]gosec.Error{}, files: map[string]bool{}}
	conf := gosec.NewConfig()
	conf.SetGlobal(gosec.Nosec, "true") // the target does not decide what is found in it
	for range workers {
		g := gosec.NewAnalyzer(conf, tests, false, false, workers, log.New(far, "", 0))
		g.LoadRules(rules.Generate(false).RulesInfo())
		g.LoadAnalyzers(analyzers.Generate(false).AnalyzersInfo())
		a.gosecs = append(a.gosecs, g)
	}
	return a
}

func (a *audit) all(dirs []string) report {
	out := report{Packages: len(dirs), Done: true}
	modules := map[string][]folder{}
	for _, dir := range dirs {
		f, err := newFolder(dir, a.tests)
		if err != nil {
			a.failed(dir, err)
			continue
		}
		out.Built, out.Unbuilt = out.Built+f.built, out.Unbuilt+f.unbuilt
		root := gosec.FindModuleRoot(dir)
		modules[root] = append(modules[root], f)
	}
	for _, root := range slices.Sorted(maps.Keys(modules)) {
		a.module(root, modules[root])
	}
	once := map[found]bool{}
	for _, g := range a.gosecs {
		issues, _, _ := g.Report()
		for _, i := range issues {
			if f := newFound(i); !once[f] {
				once[f] = true
				out.Issues = append(out.Issues, f)
			}
		}
	}
	out.Errors, out.Files = a.errors, len(a.files)
	return out
}

// module looks at the folders of a module, as many at once as there are workers.
// What they import is let go of after that.
func (a *audit) module(root string, folders []folder) {
	found, err := find(root, folders)
	if err != nil {
		for _, f := range folders {
			a.failed(f.dir, fmt.Errorf("loading what package %q imports: %w", f.dir, err))
		}
		return
	}
	w := newWorld(found, len(a.gosecs))
	next := make(chan folder)
	var working sync.WaitGroup
	for _, g := range a.gosecs {
		working.Go(func() {
			for f := range next {
				for _, u := range f.units {
					a.look(g, w, f, u)
				}
			}
		})
	}
	for _, f := range folders {
		next <- f
	}
	close(next)
	working.Wait()
}

func (a *audit) look(g *gosec.Analyzer, w *world, f folder, u unit) {
	p := w.check(u)
	defer w.forget(p)
	errs, err := gosec.ParseErrors(p)
	if err != nil {
		a.failed(f.dir, fmt.Errorf("parsing errors in pkg %q: %w", p.Name, err))
		return
	}
	a.mu.Lock()
	for where, more := range errs {
		a.errors[where] = append(a.errors[where], more...)
	}
	for _, file := range p.Syntax {
		if at := w.fset.File(file.Pos()); at != nil { // else gosec passes it over
			a.files[at.Name()] = true
		}
	}
	a.mu.Unlock()
	g.CheckRules(p)
	g.CheckAnalyzers(p)
}

func (a *audit) failed(dir string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errors[dir] = append(a.errors[dir], *gosec.NewError(0, 0, err.Error()))
}
