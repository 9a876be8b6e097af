package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	checks "github.com/aquasecurity/trivy-checks"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// engine makes the checks of one language. All scans share it. Safe for concurrent
// use, as what Open Policy Agent has compiled is.
type engine struct {
	alone  map[*check]rego.PreparedEvalQuery
	groups map[string]*group // by kind of object, in lower case; "" has all other kinds
}

// group is the checks that are for some kinds. One query asks for the results of all:
// in it they share what they work out of a document, such as its containers, which
// takes most of their time.
type group struct {
	checks []*check
	query  rego.PreparedEvalQuery
}

// newEngine compiles the checks of a language: half a second of CPU, so it is
// done once, and only when there is something to check.
func newEngine(ctx context.Context, l language) (*engine, error) {
	return engineOf(ctx, l, slices.DeleteFunc(slices.Clone(allChecks()), func(k *check) bool { return k.language != l }))
}

// engineOf compiles some of the checks of a language.
func engineOf(ctx context.Context, l language, all []*check) (*engine, error) {
	e := &engine{alone: map[*check]rego.PreparedEvalQuery{}, groups: map[string]*group{}}
	modules := map[string]*ast.Module{}
	for _, name := range libraries(l) {
		module, err := parseModule(checks.EmbeddedLibraryFileSystem, name)
		if err != nil {
			return nil, err
		}
		modules[name] = module
	}
	for _, k := range all {
		module, err := parseModule(checks.EmbeddedPolicyFileSystem, k.file)
		if err != nil {
			return nil, err
		}
		modules[k.file] = module
	}
	var err error
	able := ast.CapabilitiesForThisVersion()
	able.AllowNet = []string{} // no host: offline means offline
	compiler := ast.NewCompiler().WithCapabilities(able)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	for _, k := range all {
		if e.alone[k], err = prepare(ctx, compiler, k.rule); err != nil {
			return nil, fmt.Errorf("check %s: %w", k.id, err)
		}
	}
	return e, e.gather(ctx, compiler, all)
}

// gather makes the groups, one for all kinds that have the same checks.
func (e *engine) gather(ctx context.Context, c *ast.Compiler, all []*check) error {
	for _, kind := range kindsOf(all) {
		fit := slices.DeleteFunc(slices.Clone(all), func(k *check) bool { return !k.fits(kind) })
		for _, g := range e.groups {
			if slices.Equal(g.checks, fit) {
				e.groups[kind] = g
			}
		}
		if e.groups[kind] == nil {
			g, err := newGroup(ctx, c, fit)
			if err != nil {
				return fmt.Errorf("the checks of %q together: %w", kind, err)
			}
			e.groups[kind] = g
		}
	}
	return nil
}

// prepare compiles a query. All are when the engine is made: compiling writes to
// what evaluating reads.
func prepare(ctx context.Context, c *ast.Compiler, query string) (rego.PreparedEvalQuery, error) {
	return rego.New(rego.Query(query), rego.Compiler(c)).PrepareForEval(ctx)
}

// kindsOf lists the kinds that a check names, and "".
func kindsOf(all []*check) []string {
	kinds := []string{""}
	for _, k := range all {
		kinds = append(kinds, k.kinds...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func newGroup(ctx context.Context, c *ast.Compiler, all []*check) (*group, error) {
	g := &group{checks: all}
	if len(all) == 0 {
		return g, nil
	}
	query := make([]string, len(all))
	for i, k := range all {
		// A comprehension has a value also where the rule has none.
		query[i] = fmt.Sprintf("%s = [denied | denied = %s]", result(i), k.rule)
	}
	var err error
	g.query, err = prepare(ctx, c, strings.Join(query, "; "))
	return g, err
}

// result is the variable of a group's query that has what a check denied.
func result(check int) string { return fmt.Sprintf("check%d", check) }

// group gives the checks for objects of a kind.
func (e *engine) group(kind string) *group {
	if g := e.groups[strings.ToLower(kind)]; g != nil {
		return g
	}
	return e.groups[""]
}

// libraries are those that the checks of a language import.
func libraries(l language) []string {
	all, _ := fs.Glob(checks.EmbeddedLibraryFileSystem, "lib/"+directories[l]+"/*.rego") // the pattern is no wrong one
	all = slices.DeleteFunc(all, func(name string) bool { return !isRego(name) })
	if l == kubernetes {
		all = append(all, "lib/cloud/metadata.rego") // it reads any object
	}
	return all
}

func parseModule(from fs.FS, name string) (*ast.Module, error) {
	text, err := fs.ReadFile(from, name)
	if err != nil {
		return nil, err
	}
	return ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV0})
}

// problem is what a check found.
type problem struct {
	check    *check
	message  string
	from, to int // lines; 0: of the whole, so that there is none to name
}

// look makes the group's checks of a document. An error is one of any of them, and
// then there are no problems of the others either.
func (g *group) look(ctx context.Context, document ast.Value) ([]problem, error) {
	if len(g.checks) == 0 {
		return nil, nil
	}
	results, err := g.query.Eval(ctx, rego.EvalParsedInput(document))
	if err != nil {
		return nil, err
	}
	var out []problem
	for _, r := range results {
		for i, k := range g.checks {
			values, _ := r.Bindings[result(i)].([]any) // a comprehension
			for _, v := range values {
				out = append(out, problems(k, v)...)
			}
		}
	}
	return out, nil
}

// look makes one check of a document. An error is one of this check alone, unless
// ctx has ended.
func (e *engine) look(ctx context.Context, k *check, document ast.Value) ([]problem, error) {
	query, ok := e.alone[k]
	if !ok {
		return nil, fmt.Errorf("the check %s is of another language", k.id)
	}
	results, err := query.Eval(ctx, rego.EvalParsedInput(document))
	if err != nil {
		return nil, err
	}
	var out []problem
	for _, r := range results {
		for _, x := range r.Expressions {
			out = append(out, problems(k, x.Value)...)
		}
	}
	return out, nil
}

// problems reads the value of a rule: a set of what it denies, or the one thing.
func problems(k *check, value any) []problem {
	denied, ok := value.([]any)
	if !ok {
		denied = []any{value}
	}
	var out []problem
	for _, d := range denied {
		out = append(out, newProblem(k, d))
	}
	return out
}

// newProblem reads an element of the set "deny": the object that result.new has
// made, or the message alone.
func newProblem(k *check, denied any) problem {
	p := problem{check: k, message: k.title}
	switch d := denied.(type) {
	case string:
		p.message = d
	case map[string]any:
		p.from, p.to = lineNumber(d["startline"]), lineNumber(d["endline"])
		message := d["msg"]
		if m, ok := message.(map[string]any); ok { // as Gatekeeper has it
			message = m["msg"]
		}
		if s, ok := message.(string); ok && strings.TrimSpace(s) != "" {
			p.message = s
		}
	}
	return p
}

func lineNumber(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil || i < 0 {
		return 0
	}
	return int(i)
}
