package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference describes a setting, or a block of them, for people who write a
// configuration and for tools that help them. Of a block only Path, Doc, Block
// and Reload are given.
type Reference struct {
	Path      string   `json:"path"` // scan.<name>.timeout
	Block     bool     `json:"block,omitempty"`
	Doc       string   `json:"doc"`
	Type      string   `json:"type,omitempty"`    // string, secret, number, bool, duration, size, range, list, map, object
	Unit      string   `json:"unit,omitempty"`    // those that a value is written with
	Default   string   `json:"default,omitempty"` // as in the file
	Allowed   string   `json:"allowed,omitempty"` // "a duration between 1s and 24h"
	Min       string   `json:"min,omitempty"`
	Max       string   `json:"max,omitempty"`
	OneOf     []string `json:"one_of,omitempty"`
	Example   string   `json:"example,omitempty"`
	Sensitive bool     `json:"sensitive,omitempty"` // never shown
	Env       string   `json:"env,omitempty"`       // SECURETAG_SCAN__<NAME>__TIMEOUT
	// Reload is what a running host does with a change: "reload" takes it,
	// "restart" waits for one. For a block with a label it is said of a new block,
	// or one that is gone.
	Reload string `json:"reload,omitempty"`
}

// References lists every block and setting in the order of the structs.
func References() []Reference {
	schema := newSchema()
	return schema.references(schema.defaults())
}

func (n *node) references(layer map[string]any) []Reference {
	var out []Reference
	for _, c := range n.children {
		out = append(out, c.reference(c.path, layer))
		if c.hasBody() {
			out = append(out, c.references(layer)...)
		}
	}
	return out
}

// reference describes n; path is where it is in layer.
func (n *node) reference(path string, layer map[string]any) Reference {
	ref := Reference{Path: path, Doc: n.doc, Block: n.hasBody()}
	if n.kind == kindLabelled {
		if path == n.path {
			ref.Path += "." + label
		}
		ref.Reload = reloadWord(n.reload == reloadYes)
	}
	if ref.Block {
		return ref
	}
	ref.Type, ref.Unit, ref.Sensitive = n.kind.word(), n.kind.unit(), n.sensitive
	ref.Default, ref.Allowed, ref.Env = n.display(lookup(layer, path)), n.allowed(), envName(path)
	ref.Min, ref.Max, ref.OneOf, ref.Example = n.min, n.max, n.oneOf, n.example
	ref.Reload = reloadWord(n.live())
	return ref
}

func reloadWord(live bool) string {
	if live {
		return "reload"
	}
	return "restart"
}

// word is the kind's name in Reference.Type.
func (k kind) word() string {
	return [...]string{
		kindString: "string", kindSecret: "secret", kindInt: "number", kindBool: "bool", kindDuration: "duration", kindSize: "size",
		kindRange: "range", kindRate: "rate", kindNumber: "decimal", kindValue: "value", kindList: "list", kindVars: "map", kindObject: "object", kindBlock: "block", kindLabelled: "block",
	}[k]
}

// unit is what a value of the kind is written with; "" for none.
func (k kind) unit() string {
	switch k {
	case kindDuration, kindRange:
		return "ms, s, m, h"
	case kindSize:
		return "B, KiB, MiB, GiB, TiB (of 1024), KB, MB, GB, TB (of 1000)"
	case kindRate:
		return "requests in a time of s, m, h"
	default:
		return ""
	}
}

// allowed is wants without the example.
func (n *node) allowed() string {
	what, _, _ := strings.Cut(n.wants(), ", such as ")
	if n.kind == kindObject {
		return "a block of anything"
	}
	return what
}

// Explain describes the setting or block at a path such as scan.codeaudit.timeout
// or plugin.<name>.limits, or of a variable; of a block also what is in it. The
// error says what was probably meant.
func Explain(path string) ([]Reference, error) {
	if name, ok := strings.CutPrefix(path, EnvPrefix); ok {
		path = strings.ToLower(strings.ReplaceAll(name, "__", "."))
	}
	schema := newSchema()
	n, err := schema.resolve(path)
	if err != nil {
		return nil, err
	}
	generic, builtIn := schema.defaults(), schema.layer(reflect.ValueOf(Default()))
	at := func(c *node, path string) Reference {
		if there(builtIn, path) && !c.hasBody() {
			return c.reference(path, builtIn)
		}
		ref := c.reference(c.path, generic)
		ref.Path = path
		if ref.Env != "" {
			ref.Env = envName(path)
		}
		return ref
	}
	out := []Reference{at(n, path)}
	if n.kind == kindLabelled && strings.Count(path, ".") == strings.Count(n.path, ".") { // without its label
		path += "." + label
		out[0].Path = path
	}
	if n.hasBody() {
		for _, c := range n.children {
			out = append(out, at(c, path+"."+c.name))
		}
	}
	return out, nil
}

// there reports whether a layer has something at a path.
func there(layer map[string]any, path string) bool {
	var v any = layer
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if v = m[part]; !ok || v == nil {
			return false
		}
	}
	return true
}

// resolve finds the node at a path, or says what may have been meant.
func (n *node) resolve(path string) (*node, error) {
	at, parts, taken := n, strings.Split(path, "."), ""
	for len(parts) > 0 {
		c := at.child(parts[0])
		if c == nil {
			return nil, n.noSuch(at, path, taken, parts)
		}
		taken += parts[0] + "."
		at, parts = c, parts[1:]
		if c.kind == kindLabelled && len(parts) > 0 {
			taken += parts[0] + "."
			parts = parts[1:]
		}
	}
	return at, nil
}

// noSuch is the error for a path that ends at the node at, after taken; rest is
// what is not there.
func (n *node) noSuch(at *node, path, taken string, rest []string) error {
	text := fmt.Sprintf("there is no setting %.128q", path)
	if at.kind == kindObject {
		return fmt.Errorf("%s: what is in the config block of a plugin is the plugin's own; securetag plugin schema NAME says it", text)
	}
	if at != n && !at.hasBody() {
		return fmt.Errorf("%s: %s is a setting, with nothing below it", text, strings.TrimSuffix(taken, "."))
	}
	if best := nearest(rest[0], append(at.names(false), at.names(true)...)); best != "" {
		return fmt.Errorf("%s; did you mean %q?", text, strings.Join(append([]string{taken + best}, rest[1:]...), "."))
	}
	var same []string
	n.leaves(func(c *node) {
		if c.name == rest[len(rest)-1] {
			same = append(same, c.path)
		}
	})
	if len(same) > 0 {
		return fmt.Errorf("%s; there is %s", text, strings.Join(same, ", "))
	}
	where := "at the top"
	if taken != "" {
		where = "in " + strings.TrimSuffix(taken, ".")
	}
	return fmt.Errorf("%s: %s there is %s", text, where, strings.Join(append(at.names(false), at.names(true)...), ", "))
}

// SchemaDocument is the machine-readable schema.
type SchemaDocument struct {
	Format   int         `json:"format"`   // grows when a reader must know
	Settings []Reference `json:"settings"` // and blocks, in the order of docs/configuration.md
}

// Schema gives what docs/configuration.md is made of, for programs.
func Schema() SchemaDocument { return SchemaDocument{Format: 1, Settings: References()} }
