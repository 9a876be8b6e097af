package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Show prints every setting with its value and where that comes from, in the
// order of the structs. Sensitive values are not shown.
func (l *Loaded) Show(w io.Writer) error {
	layer := l.schema.layer(reflect.ValueOf(l.Config))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, path := range l.schema.paths(layer, "") {
		fmt.Fprintf(t, "%s\t= %s\t# %s\n", path, clean(l.schema.find(path).display(lookup(layer, path))), l.Source(path))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

// lookup gets the value at a path.
func lookup(layer map[string]any, path string) any {
	var v any = layer
	for part := range strings.SplitSeq(path, ".") {
		v = v.(map[string]any)[part]
	}
	return v
}

// Reference describes a setting for people who write a configuration.
type Reference struct {
	Path    string // scan.<name>.timeout
	Env     string // SECURETAG_SCAN__<NAME>__TIMEOUT
	Doc     string
	Allowed string // "a duration between 1s and 24h"
	Default string // as in the file
	Block   bool   // a block: Env, Allowed and Default are empty
}

// References lists every block and setting in the order of the structs.
func References() []Reference {
	schema := newSchema()
	return schema.references(schema.defaults())
}

func (n *node) references(layer map[string]any) []Reference {
	var out []Reference
	for _, c := range n.children {
		ref := Reference{Path: c.path, Doc: c.doc, Block: c.hasBody()}
		if !ref.Block {
			ref.Env, ref.Allowed, ref.Default = envName(c.path), c.allowed(), c.display(lookup(layer, c.path))
			out = append(out, ref)
			continue
		}
		if c.kind == kindLabelled {
			ref.Path += "." + label
		}
		out = append(append(out, ref), c.references(layer)...)
	}
	return out
}

// allowed is wants without the example.
func (n *node) allowed() string {
	what, _, _ := strings.Cut(n.wants(), ", such as ")
	if n.kind == kindObject {
		return "a block of anything"
	}
	return what
}
