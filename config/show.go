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
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range l.Settings() {
		fmt.Fprintf(t, "%s\t= %s\t# %s\n", s.Path, s.Value, s.Source)
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

// Setting is one setting as it is in force.
type Setting struct {
	Path   string
	Value  string // as in the file; "(sensitive)" for what is not shown
	Source string // see Source
	// Restart: a running host does not take a change before it is started again.
	Restart bool
}

// Settings lists every setting, in the order of the structs.
func (l *Loaded) Settings() []Setting {
	layer := l.schema.layer(reflect.ValueOf(l.Config))
	var out []Setting
	for _, path := range l.schema.paths(layer, "") {
		n := l.schema.find(path)
		out = append(out, Setting{
			Path: path, Value: clean(n.display(lookup(layer, path))), Source: l.Source(path), Restart: !n.live(),
		})
	}
	return out
}
