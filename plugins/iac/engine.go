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
	checks []*check
	query  map[*check]rego.PreparedEvalQuery
}

// newEngine compiles the checks of a language: half a second of CPU, so it is
// done once, and only when there is something to check.
func newEngine(ctx context.Context, l language) (*engine, error) {
	return engineOf(ctx, l, slices.DeleteFunc(slices.Clone(allChecks()), func(k *check) bool { return k.language != l }))
}

// engineOf compiles some of the checks of a language.
func engineOf(ctx context.Context, l language, all []*check) (*engine, error) {
	e := &engine{checks: all, query: map[*check]rego.PreparedEvalQuery{}}
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
	able := ast.CapabilitiesForThisVersion()
	able.AllowNet = []string{} // no host: offline means offline
	compiler := ast.NewCompiler().WithCapabilities(able)
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	for _, k := range e.checks {
		query, err := rego.New(rego.Query(k.rule), rego.Compiler(compiler)).PrepareForEval(ctx)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", k.id, err)
		}
		e.query[k] = query
	}
	return e, nil
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

// look makes one check of a document. An error is one of this check alone, unless
// ctx has ended.
func (e *engine) look(ctx context.Context, k *check, document ast.Value) ([]problem, error) {
	query, ok := e.query[k]
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
			denied, ok := x.Value.([]any)
			if !ok {
				denied = []any{x.Value}
			}
			for _, d := range denied {
				out = append(out, newProblem(k, d))
			}
		}
	}
	return out, nil
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
