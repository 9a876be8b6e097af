package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// labelName is what a scan type and a plugin may be called. It has no dot,
// which separates paths, and no underscore, which is a hyphen in a variable's
// name, where two separate levels.
var labelName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// walker checks the body of a file against the schema and collects the layer
// that it is, with the place of every value.
type walker struct {
	schema *node
	eval   *hcl.EvalContext
	probe  *hcl.EvalContext // tells what the file writes out itself: see literal.go
	diags  hcl.Diagnostics

	places   map[string]hcl.Range   // of each value, by path
	elements map[string][]hcl.Range // of each element of a list that is written out
	blocks   map[string]hcl.Range   // of each block's first line, by path
	given    map[string]hcl.Range   // the name of each setting that is there, right or wrong, by path
	broken   map[string]bool        // paths whose value was wrong and left out
	settings map[string]hcl.Range   // of each member of a free-form block, by path
	literals map[string]bool        // those of settings that the file writes out: see literal.go
}

func newWalker(schema *node, eval *hcl.EvalContext) *walker {
	return &walker{
		schema: schema, eval: eval, probe: probeContext(eval),
		places: map[string]hcl.Range{}, elements: map[string][]hcl.Range{},
		blocks: map[string]hcl.Range{}, given: map[string]hcl.Range{}, broken: map[string]bool{}, settings: map[string]hcl.Range{}, literals: map[string]bool{},
	}
}

func (w *walker) bad(at hcl.Range, summary, detail string, args ...any) {
	w.diags = append(w.diags, problem(at, summary, detail, args...)...)
}

// body walks what stands between the braces of the block n at path (with its
// final dot, empty at the top), and adds it to out.
func (w *walker) body(b *hclsyntax.Body, n *node, path string, out map[string]any) {
	for _, a := range sorted(b.Attributes) {
		c := n.child(a.Name)
		switch {
		case c == nil:
			w.bad(a.NameRange, "Unsupported argument", "%s", w.unknown("argument", a.Name, n, path))
			if w.maySecret(a.Name) {
				w.diags[len(w.diags)-1].Extra = hiddenRest{}
			}
		case c.isBlock():
			w.bad(a.NameRange, "Unsupported argument", "%s is a block, not an argument: write %s without the equals sign.", a.Name, blockForm(c))
		case w.again(a, path+a.Name):
		default:
			if v, ok := w.attribute(a, c, path+a.Name); ok {
				out[a.Name] = v
			}
		}
	}
	for _, bl := range b.Blocks {
		c := n.child(bl.Type)
		switch {
		case c == nil:
			w.bad(bl.TypeRange, "Unsupported block type", "%s", w.unknown("block", bl.Type, n, path))
		case !c.isBlock():
			w.bad(bl.TypeRange, "Unsupported block type", "%s is an argument, not a block: write %s = ... with %s.", bl.Type, bl.Type, c.wants())
		case c.kind == kindLabelled:
			w.labelled(bl, c, path, out)
		default:
			w.plain(bl, c, path, out)
		}
	}
}

// unknown explains a name that n does not have: what it may have been, and
// where it belongs when it is a setting of another block.
func (w *walker) unknown(what, name string, n *node, path string) string {
	where := "at the top of the file"
	if path != "" {
		where = "in " + strings.TrimSuffix(path, ".")
	}
	text := fmt.Sprintf("There is no %s %q %s.", what, name, where)
	if s := suggest(name, append(n.names(what == "block"), n.names(what != "block")...)); s != "" {
		return text + s
	}
	var elsewhere []string
	w.schema.leaves(func(c *node) {
		if c.name == name {
			elsewhere = append(elsewhere, c.path)
		}
	})
	if len(elsewhere) > 0 {
		return text + " There is " + strings.Join(elsewhere, " and ") + ": put it inside that block."
	}
	known := slices.Sorted(slices.Values(append(n.names(false), n.names(true)...)))
	return text + " Known here: " + strings.Join(known, ", ") + "."
}

// maySecret reports whether a name that is no setting may have been meant as a
// sensitive one, of whatever block.
func (w *walker) maySecret(name string) bool {
	var names []string
	w.schema.leaves(func(c *node) {
		if c.sensitive {
			names = append(names, c.name)
		}
	})
	return nearest(name, names) != ""
}

// blockForm shows how a block is written.
func blockForm(n *node) string {
	if n.kind == kindLabelled {
		return n.name + ` "name" { ... }`
	}
	return n.name + " { ... }"
}

// plain takes a block without a label.
func (w *walker) plain(bl *hclsyntax.Block, n *node, path string, out map[string]any) {
	if len(bl.Labels) > 0 {
		w.bad(bl.LabelRanges[0], "Unexpected label", "A %s block has no name: write %s.", n.name, blockForm(n))
	}
	if !w.first(bl, n, path+n.name) {
		return
	}
	if n.kind != kindObject {
		w.body(bl.Body, n, path+n.name+".", group(out, n.name))
		return
	}
	w.places[path+n.name] = bl.DefRange()
	failed := len(w.diags)
	for _, a := range bl.Body.Attributes {
		w.settings[path+n.name+"."+a.Name] = a.SrcRange
		w.literals[path+n.name+"."+a.Name] = w.writesOut(a.Expr)
	}
	for _, inner := range bl.Body.Blocks {
		w.settings[path+n.name+"."+inner.Type] = inner.DefRange()
		w.literals[path+n.name+"."+inner.Type] = w.literals[path+n.name+"."+inner.Type] || w.bodyWritesOut(inner.Body)
	}
	text, err := json.Marshal(w.object(bl.Body))
	if err != nil { // not to be expected: every member is checked by object
		w.bad(bl.DefRange(), "Invalid value", "%s%s cannot be written as JSON, so it cannot be handed to a plugin.", path, n.name)
	}
	if len(w.diags) > failed {
		w.broken[path+n.name] = true
		return
	}
	out[n.name] = string(text)
}

// labelled takes a block with a label, such as scan "web".
func (w *walker) labelled(bl *hclsyntax.Block, n *node, path string, out map[string]any) {
	if len(bl.Labels) != 1 {
		at := bl.DefRange()
		if len(bl.Labels) > 1 {
			at = bl.LabelRanges[1]
		}
		w.bad(at, "Wrong number of labels", "%s block has exactly one name: write %s.", capital(article(n.name)), blockForm(n))
		if len(bl.Labels) == 0 {
			return
		}
	}
	name := bl.Labels[0]
	names, hyphen, example := labelName, "hyphens", "code-audit"
	if n.name == "option" {
		names, hyphen, example = optionName, "single underscores", "max_depth"
	}
	if len(name) > 63 || !names.MatchString(name) {
		w.bad(bl.LabelRanges[0], "Invalid name", "The name of %s is lower-case letters, digits and %s, begins with a letter and has at most 63 characters, such as %q.", article(n.name), hyphen, example)
		w.blocks[path+n.name+"."+name] = bl.DefRange()
		w.body(bl.Body, n, path+n.name+"."+cut(name, 64)+".", map[string]any{}) // for its mistakes
		return
	}
	if !w.first(bl, n, path+n.name+"."+name) {
		return
	}
	w.body(bl.Body, n, path+n.name+"."+name+".", group(group(out, n.name), name))
}

// article is a name with the article that it takes.
func article(name string) string {
	if strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// group is the map called name in out, which is made when it is missing.
func group(out map[string]any, name string) map[string]any {
	g, ok := out[name].(map[string]any)
	if !ok {
		g = map[string]any{}
		out[name] = g
	}
	return g
}

// first notes a block and reports one that was there before. Blocks without a
// label may be spread over files: then their settings count, one by one.
func (w *walker) first(bl *hclsyntax.Block, n *node, path string) bool {
	before, seen := w.blocks[path]
	if !seen {
		w.blocks[path] = bl.DefRange()
		return true
	}
	if n.kind == kindBlock && !strings.Contains(path, ".") && before.Filename != bl.TypeRange.Filename {
		return true
	}
	w.bad(bl.DefRange(), "Duplicate block", "%s was already given %s. Put all its settings in one block.", path, where(before, bl.TypeRange))
	return false
}

// where says where something was given before, to somebody who is at another
// place.
func where(before, at hcl.Range) string {
	if before.Filename == at.Filename {
		return fmt.Sprintf("on line %d", before.Start.Line)
	}
	return fmt.Sprintf("at %s:%d", before.Filename, before.Start.Line)
}

// again reports a setting that another file has given already. One that is given
// twice in a file is the parser's to report.
func (w *walker) again(a *hclsyntax.Attribute, path string) bool {
	before, seen := w.given[path]
	if !seen {
		w.given[path] = a.NameRange
		return false
	}
	w.bad(a.NameRange, "Setting given twice", "%s was already given %s. Files of a directory are one configuration, in which no file overrides another: take one of the two out.", path, where(before, a.NameRange))
	w.diags[len(w.diags)-1].Extra = hiddenRest{} // it may be a secret
	return true
}

// attribute evaluates one setting. It reports whether there is a value.
func (w *walker) attribute(a *hclsyntax.Attribute, n *node, path string) (any, bool) {
	failed := len(w.diags)
	v, ok := w.value(a.Expr)
	if len(w.diags) > failed {
		w.broken[path] = true
		if n.sensitive {
			for _, d := range w.diags[failed:] {
				d.Subject, d.Extra = a.Expr.Range().Ptr(), hidden{}
			}
		}
		return nil, false
	}
	if !ok || v.IsNull() { // null leaves the layer below alone
		return nil, false
	}
	w.byReference(a.Expr, n, path)
	out, err := n.fromCty(v)
	if err != nil {
		w.broken[path] = true
		d := problem(a.Expr.Range(), "Invalid value", "%s", n.explain(path, shown(v), err))[0]
		if n.sensitive {
			d.Detail, d.Extra = n.explain(path, "", err), hidden{}
		}
		w.diags = append(w.diags, d)
		return nil, false
	}
	w.places[path] = a.Expr.Range()
	if list, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok {
		for _, e := range list.Exprs {
			w.elements[path] = append(w.elements[path], e.Range())
		}
	}
	return out, true
}

// value evaluates an expression; false when it has none because of a mistake
// that was reported already.
func (w *walker) value(expr hclsyntax.Expression) (cty.Value, bool) {
	if diags := checkExpr(expr); diags.HasErrors() {
		w.diags = append(w.diags, diags...)
		return cty.NilVal, false
	}
	if _, literal := expr.(*hclsyntax.LiteralValueExpr); !literal && hcl.ExprAsKeyword(expr) != "" {
		w.bad(expr.Range(), "Missing quotes", "A bare word is not a value: write it in quotes.")
		return cty.NilVal, false
	}
	v, diags := expr.Value(w.eval)
	for _, d := range diags {
		d.EvalContext = nil // it would only add noise: there are no variables
		switch d.Summary {
		case "Call to unknown function":
			d.Detail += " The functions are " + strings.Join(slices.Sorted(maps.Keys(w.eval.Functions)), ", ") + "."
		case "Variables not allowed":
			d.Detail = "There are no variables. Text is written in quotes, and env(\"NAME\") is an environment variable."
		}
	}
	w.diags = append(w.diags, diags...)
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return cty.NilVal, false
	}
	v, _ = v.UnmarkDeep()
	return v, true
}

// object takes a free-form block: arguments become members, a block an object,
// its labels objects around it.
func (w *walker) object(b *hclsyntax.Body) map[string]any {
	out := map[string]any{}
	for _, a := range sorted(b.Attributes) {
		v, ok := w.value(a.Expr)
		if !ok || v.IsNull() {
			continue
		}
		text, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			w.bad(a.Expr.Range(), "Invalid value", "%s cannot be handed to a plugin: it is no string, finite number, true, false, list or object of these.", a.Name)
			continue
		}
		out[a.Name] = json.RawMessage(text)
	}
	for _, bl := range b.Blocks {
		at, name := out, bl.Type
		for _, l := range bl.Labels {
			inner, ok := at[name].(map[string]any)
			if !ok && at[name] == nil {
				inner = map[string]any{}
				at[name] = inner
			}
			if inner == nil {
				break
			}
			at, name = inner, l
		}
		if _, taken := at[name]; taken {
			w.bad(bl.DefRange(), "Duplicate block", "%s was already given in this block.", bl.Type)
			continue
		}
		at[name] = w.object(bl.Body)
	}
	return out
}

// fromCty reads a value of the file.
func (n *node) fromCty(v cty.Value) (any, error) {
	switch n.kind {
	case kindValue:
		return valueFromCty(v)
	case kindList:
		lv, err := convert.Convert(v, cty.List(cty.String))
		if err != nil {
			return nil, err
		}
		out := []string{}
		for _, e := range lv.AsValueSlice() {
			if e.IsNull() {
				return nil, errValue
			}
			out = append(out, e.AsString())
		}
		return out, nil
	case kindVars:
		mv, err := convert.Convert(v, cty.Map(cty.String))
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		for k, e := range mv.AsValueMap() {
			if !e.IsNull() {
				out[k] = e.AsString()
			}
		}
		return out, checkVars(out)
	case kindDuration, kindRange:
		if v.Type() != cty.String {
			return nil, errValue
		}
	case kindString, kindSecret: // a number may come out of a template
		if v.Type() != cty.String && v.Type() != cty.Number {
			return nil, errValue
		}
	case kindBool:
		if v.Type() != cty.Bool && v.Type() != cty.String {
			return nil, errValue
		}
	}
	sv, err := convert.Convert(v, cty.String)
	if err != nil {
		return nil, err
	}
	return n.fromText(sv.AsString())
}

// explain says why a value is wrong; what is the value, empty when it must not
// be shown.
func (n *node) explain(path, what string, err error) string {
	if errors.Is(err, errControl) {
		return path + " has a line break or another control character in it. If it comes from a file, write trimspace(file(...))."
	}
	text := fmt.Sprintf("%s must be %s", path, n.wants())
	if what != "" {
		text += ", not " + what
	}
	text += "."
	if len(n.oneOf) > 0 {
		text += suggest(strings.Trim(what, `"`), n.oneOf)
	}
	return text
}

// shown is a value as people wrote it, cut to a length for a message.
func shown(v cty.Value) string {
	switch {
	case v.Type() == cty.String:
		return fmt.Sprintf("%.64q", v.AsString())
	case v.Type().IsPrimitiveType():
		s, _ := convert.Convert(v, cty.String)
		return cut(s.AsString(), 64)
	case v.Type().IsTupleType():
		return "this list"
	default:
		return "an " + v.Type().FriendlyName()
	}
}

// sorted gives attributes in the order of the file.
func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(attrs), func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte)
	})
}

// newBlocks adds to defaults, for each labelled block of the file that has no
// built-in, what such a block starts from.
func newBlocks(defaults, file map[string]any, schema *node) {
	start := map[string]func(string) any{
		"scan":   func(string) any { return defaultScan() },
		"plugin": func(name string) any { return defaultPlugin(name) },
		"plan":   func(string) any { return defaultPlan() },
	}
	for kind, block := range start {
		declared, _ := file[kind].(map[string]any)
		known := defaults[kind].(map[string]any)
		for name := range declared {
			if _, ok := known[name]; !ok {
				known[name] = schema.child(kind).layer(reflect.ValueOf(block(name)))
			}
		}
	}
	option := schema.child("scan").child("option")
	declared, _ := file["scan"].(map[string]any)
	for name, scan := range declared {
		options, _ := scan.(map[string]any)["option"].(map[string]any)
		known := defaults["scan"].(map[string]any)[name].(map[string]any)["option"].(map[string]any)
		for o := range options {
			known[o] = option.layer(reflect.ValueOf(defaultOption()))
		}
	}
}
