package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// kind is how a setting is written.
type kind int

const (
	kindString kind = iota
	kindSecret
	kindInt
	kindBool
	kindDuration
	kindSize
	kindRange
	kindRate
	kindNumber   // that need not be whole
	kindList     // of strings
	kindVars     // a map of strings
	kindValue    // a string, number, bool or list of strings, as JSON
	kindObject   // a block of anything, handed on as JSON
	kindBlock    // settings in braces
	kindLabelled // the same, any number of times, each with a name
)

// node is one setting or block of the schema, read off a field of [Config].
type node struct {
	name      string
	path      string // from the top, with <name> for a label: scan.<name>.timeout
	doc       string
	kind      kind
	example   string
	min, max  string
	oneOf     []string
	sensitive bool
	url       bool   // of a secret: a URL, in which only the password is one
	reload    string // what a reload does with it: see reload.go; that of the block around it unless it has its own
	index     int    // of the field in its struct
	children  []*node
}

// label stands for a block's label in the schema's paths.
const label = "<name>"

// newSchema reads the structs. It panics when they are not as this package
// needs them, which every test would see.
func newSchema() *node {
	n := &node{kind: kindBlock, children: fieldsOf(reflect.TypeFor[Config](), "", "")}
	defaults := n.defaults()
	n.leaves(func(c *node) {
		switch c.kind { // the best example of a number is its default
		case kindInt, kindNumber, kindDuration, kindSize, kindRange, kindRate:
			c.example = c.display(lookup(defaults, c.path))
		}
	})
	return n
}

// defaults is the layer of defaults with one labelled block of each kind.
func (n *node) defaults() map[string]any {
	cfg := Default()
	scan := defaultScan()
	scan.Options = map[string]Option{label: defaultOption()}
	cfg.Scans = map[string]Scan{label: scan}
	cfg.Plugins = map[string]Plugin{label: defaultPlugin(label)}
	cfg.Plans = map[string]Plan{label: defaultPlan()}
	return n.layer(reflect.ValueOf(cfg))
}

// fieldsOf reads the fields of a block; reload is what holds for those that do
// not say it themselves.
func fieldsOf(t reflect.Type, prefix, reload string) []*node {
	var out []*node
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("doc") == "-" { // filled in by Load
			continue
		}
		n := &node{
			name: f.Tag.Get("koanf"), doc: f.Tag.Get("doc"), example: f.Tag.Get("example"),
			min: f.Tag.Get("min"), max: f.Tag.Get("max"), sensitive: f.Tag.Get("sensitive") != "", url: f.Tag.Get("url") != "",
			kind: kindOf(f.Type), reload: cmp.Or(f.Tag.Get("reload"), reload), index: i,
		}
		if one := f.Tag.Get("oneof"); one != "" {
			n.oneOf = strings.Split(one, ",")
		}
		if n.name == "" || n.doc == "" {
			panic(fmt.Sprintf("config: %s.%s has no name or no doc", t, f.Name))
		}
		if n.reload != "" && !slices.Contains(reloads, n.reload) {
			panic(fmt.Sprintf("config: %s.%s has reload %q, which is none of %v", t, f.Name, n.reload, reloads))
		}
		n.path = prefix + n.name
		switch n.kind {
		case kindSecret:
			n.sensitive = true
		case kindBlock:
			n.children = fieldsOf(f.Type, n.path+".", n.reload)
		case kindLabelled:
			n.children = fieldsOf(f.Type.Elem(), n.path+"."+label+".", n.reload)
		}
		out = append(out, n)
	}
	return out
}

func kindOf(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[Secret]():
		return kindSecret
	case reflect.TypeFor[time.Duration]():
		return kindDuration
	case reflect.TypeFor[ByteSize]():
		return kindSize
	case reflect.TypeFor[BackoffRange]():
		return kindRange
	case reflect.TypeFor[Rate]():
		return kindRate
	case reflect.TypeFor[Value]():
		return kindValue
	case reflect.TypeFor[json.RawMessage]():
		return kindObject
	case reflect.TypeFor[[]string]():
		return kindList
	case reflect.TypeFor[map[string]string]():
		return kindVars
	}
	switch t.Kind() {
	case reflect.String:
		return kindString
	case reflect.Int:
		return kindInt
	case reflect.Float64:
		return kindNumber
	case reflect.Bool:
		return kindBool
	case reflect.Struct:
		return kindBlock
	case reflect.Map:
		return kindLabelled
	default:
		panic("config: no kind of setting for " + t.String())
	}
}

// child finds a setting or block by name; nil when there is none.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// names lists the children that are blocks, or those that are not.
func (n *node) names(blocks bool) []string {
	var out []string
	for _, c := range n.children {
		if c.isBlock() == blocks {
			out = append(out, c.name)
		}
	}
	return out
}

// isBlock reports whether it is written with braces and without "=".
func (n *node) isBlock() bool {
	return n.kind == kindBlock || n.kind == kindLabelled || n.kind == kindObject
}

// hasBody reports whether it holds settings of this schema.
func (n *node) hasBody() bool { return n.kind == kindBlock || n.kind == kindLabelled }

// find looks a path such as scan.codeaudit.timeout up, labels included.
func (n *node) find(path string) *node {
	parts := strings.Split(path, ".")
	for len(parts) > 0 && n != nil {
		n, parts = n.child(parts[0]), parts[1:]
		if n != nil && n.kind == kindLabelled && len(parts) > 0 {
			parts = parts[1:]
		}
	}
	return n
}

// leaves calls f for every setting below n.
func (n *node) leaves(f func(*node)) {
	for _, c := range n.children {
		if c.hasBody() {
			c.leaves(f)
		} else {
			f(c)
		}
	}
}

// layer turns a struct into the nested map that koanf takes, with each value
// in the canonical form of value.go.
func (n *node) layer(v reflect.Value) map[string]any {
	out := map[string]any{}
	for _, c := range n.children {
		f := v.Field(c.index)
		switch c.kind {
		case kindBlock:
			out[c.name] = c.layer(f)
		case kindLabelled:
			m := map[string]any{}
			for _, k := range f.MapKeys() {
				m[k.String()] = c.layer(f.MapIndex(k))
			}
			out[c.name] = m
		default:
			out[c.name] = c.canonical(f)
		}
	}
	return out
}
