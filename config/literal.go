package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// referred stands for what env() and file() give when an expression is looked
// at for what it writes out itself. It is for private use in Unicode and has no
// case, so the other functions leave it alone.
const referred = "\uE000"

// probeContext is eval without the environment and files: what they would give
// is referred, but for the default of env(), which is written in the file.
func probeContext(eval *hcl.EvalContext) *hcl.EvalContext {
	probe := &hcl.EvalContext{Functions: maps.Clone(eval.Functions)}
	reference := function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) == 2 {
				return args[1], nil
			}
			return cty.StringVal(referred), nil
		},
	})
	probe.Functions["env"], probe.Functions["file"] = reference, reference
	return probe
}

// byReference refuses a secret that is written out in the file, where whoever
// may read or back up the file has it. Of a URL only the password is one. The
// value is not left out for it, so that what else is wrong with it is found too.
func (w *walker) byReference(expr hclsyntax.Expression, n *node, path string) {
	if n.kind != kindSecret {
		return
	}
	v, diags := expr.Value(w.probe)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return // it depends on what is referred to
	}
	v, _ = v.UnmarkDeep()
	text, ok := written(v)
	if !ok {
		return
	}
	what, secret, example := path, text, ""
	if n.url {
		what, secret = "The password in "+path, passwordOf(secret)
		example = `, in the middle of a URL as in "//user:${env("NAME")}@host"`
	}
	if secret == "" || strings.Contains(secret, referred) {
		return
	}
	w.bad(expr.Range(), "Secret in the file", `%s must not be written out in the file, nor as the default of env: refer to it with env("NAME")%s, or with trimspace(file("/run/secrets/name")). The environment variable %s may hold the whole value instead.`,
		what, example, envName(path))
	w.diags[len(w.diags)-1].Extra = hidden{}
}

// writesOut reports whether something in the value of an expression is written
// out in the file. Only the plugin knows which of its settings are secrets, so
// this is noted of each; see [Plugin.Literals].
func (w *walker) writesOut(expr hclsyntax.Expression) bool {
	v, diags := expr.Value(w.probe)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return false // it depends on what is referred to
	}
	v, _ = v.UnmarkDeep()
	found := false
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) { // it fails only when the function does
		text, ok := written(v)
		found = found || ok && text != "" && !strings.Contains(text, referred)
		return true, nil
	})
	return found
}

// written is the text of a value, if it is one. That of a number is not made: it
// refers to nothing, and 1e9999999 takes half a minute.
func written(v cty.Value) (string, bool) {
	switch {
	case v.IsNull() || !v.Type().IsPrimitiveType():
		return "", false
	case v.Type() == cty.String:
		return v.AsString(), true
	default:
		return "a number or bool", true
	}
}

func (w *walker) bodyWritesOut(b *hclsyntax.Body) bool {
	for _, a := range b.Attributes {
		if w.writesOut(a.Expr) {
			return true
		}
	}
	return slices.ContainsFunc(b.Blocks, func(inner *hclsyntax.Block) bool { return w.bodyWritesOut(inner.Body) })
}

// passwordOf is the password in a URL, "" when there is none. It is as lenient
// as those who connect with it, and reads one with referred in any place.
func passwordOf(s string) string {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if _, password, _ := strings.Cut(authority[:i], ":"); password != "" {
			return password
		}
	}
	values, _ := url.ParseQuery(query)                         // what it could read
	for _, name := range []string{"password", "sslpassword"} { // PostgreSQL takes them there, too
		if p := values.Get(name); p != "" {
			return p
		}
	}
	return ""
}
