package main

import (
	"context"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/types"
	"mvdan.cc/sh/v3/syntax"
)

// The functions that the checks call and that Trivy gives them. Those that only
// other checks call are left out: the compiler names a function that is missing.
// Open Policy Agent keeps them for the process, in maps and lists that whoever
// parses or compiles reads without a lock: they are written before anybody can.
func init() { //nolint:gochecknoinits // as Open Policy Agent says
	rego.RegisterBuiltin2(&rego.Function{
		Name: "result.new", Decl: types.NewFunction(types.Args(types.S, types.A), types.A),
	}, func(_ rego.BuiltinContext, message, cause *ast.Term) (*ast.Term, error) {
		return newResult(message, cause), nil
	})
	rego.RegisterBuiltin1(&rego.Function{
		Name: "isManaged", Decl: types.NewFunction(types.Args(types.A), types.B),
	}, func(rego.BuiltinContext, *ast.Term) (*ast.Term, error) { return ast.BooleanTerm(true), nil })
	rego.RegisterBuiltin1(&rego.Function{
		Name: "sh.parse_commands", Memoize: true,
		Decl: types.NewFunction(types.Args(types.S), types.NewArray(nil, types.NewArray(nil, types.S))),
	}, parseCommands)
}

// newResult is result.new(message, cause): what a check found, with the lines of
// the instruction or object that is the cause.
func newResult(message, cause *ast.Term) *ast.Term {
	from := cause.Get(ast.StringTerm("__defsec_metadata")) // of an object
	if from == nil {
		from = cause // an instruction, or nothing that has a place
	}
	out := [][2]*ast.Term{{ast.StringTerm("msg"), message}}
	for name, keys := range map[string][2]string{"startline": {"startline", "StartLine"}, "endline": {"endline", "EndLine"}} {
		for _, key := range keys {
			if line := from.Get(ast.StringTerm(key)); line != nil {
				out = append(out, [2]*ast.Term{ast.StringTerm(name), line})
				break
			}
		}
	}
	return ast.ObjectTerm(out...)
}

// parseCommands is sh.parse_commands(text): the commands of a shell script, each
// with its words as they are written. What is no such script has no value, as in
// Trivy, so that the check which asked finds nothing: that is written down.
func parseCommands(bctx rego.BuiltinContext, text *ast.Term) (*ast.Term, error) {
	s, err := builtins.StringOperand(text.Value, 0)
	if err != nil {
		return nil, err
	}
	script, err := parseScript(string(s))
	if err != nil {
		if e, ok := bctx.Context.Value(unreadKey{}).(*unread); ok {
			e.add(string(s))
		}
		return nil, err
	}
	printer := syntax.NewPrinter()
	commands := ast.NewArray()
	syntax.Walk(script, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		words := make([]*ast.Term, len(call.Args))
		for i, w := range call.Args {
			var b strings.Builder
			_ = printer.Print(&b, w) // a strings.Builder takes everything
			words[i] = ast.StringTerm(b.String())
		}
		commands = commands.Append(ast.ArrayTerm(words...))
		return true
	})
	return ast.NewTerm(commands), nil
}

// parseScript parses what RUN runs. The lines of a here-document come joined with
// " ; ", which breaks those that go on in the next: "then ; ls". As lines they are
// what they were.
func parseScript(s string) (*syntax.File, error) {
	script, err := syntax.NewParser().Parse(strings.NewReader(s), "")
	if err == nil || !strings.Contains(s, " ; ") {
		return script, err
	}
	if script, again := syntax.NewParser().Parse(strings.NewReader(strings.ReplaceAll(s, " ; ", "\n")), ""); again == nil {
		return script, nil
	}
	return nil, err
}

// unread has the shell scripts of one file that could not be parsed.
type unread struct {
	mu      sync.Mutex
	scripts map[string]bool
}

type unreadKey struct{}

func withUnread(ctx context.Context) (context.Context, *unread) {
	u := &unread{scripts: map[string]bool{}}
	return context.WithValue(ctx, unreadKey{}, u), u
}

func (u *unread) add(script string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.scripts[script] = true
}
