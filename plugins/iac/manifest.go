package main

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth     = 200     // of one document, through aliases
	maxNodes     = 100_000 // of one document, each time an alias repeats them
	maxDocuments = 2_000   // of one file
)

var (
	errTooDeep = errors.New("it is nested too deep")
	errTooBig  = errors.New("it has too many values, counting what its aliases repeat")
)

// object is one Kubernetes object: what the checks take.
type object struct {
	kind     string
	name     string
	from, to int // lines
	body     map[string]any
}

// part is one document of a file of YAML, with the lines before it.
type part struct {
	text  []byte
	lines int
}

// isManifest goes by the name. What is in the file decides in the end.
func isManifest(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// mayBeManifest is a look that costs nothing beside parsing.
func mayBeManifest(text []byte) bool {
	return bytes.Contains(text, []byte("apiVersion")) && bytes.Contains(text, []byte("kind"))
}

var (
	keyVersion = regexp.MustCompile(`(?m)(?:^|[{,])[\s-]*["']?apiVersion["']?\s*:`)
	keyKind    = regexp.MustCompile(`(?m)(?:^|[{,])[\s-]*["']?kind["']?\s*:`)
)

// looksLikeManifest judges what could not be parsed.
func looksLikeManifest(text []byte) bool { return keyVersion.Match(text) && keyKind.Match(text) }

// isJSON goes by the first character, as Trivy does.
func isJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// split cuts YAML where a document begins or ends, so that one that cannot be
// parsed costs no other. No value can have such a line: it would end there.
func split(text []byte) []part {
	var parts []part
	var from, at, before, line int
	cut := func() {
		if at > from {
			parts = append(parts, part{text[from:at], before})
		}
		from, before = at, line
	}
	for l := range bytes.Lines(text) {
		if isMarker(l) {
			cut()
		}
		at += len(l)
		line++
	}
	cut()
	return parts
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok {
		if rest, ok = bytes.CutPrefix(line, []byte("...")); !ok {
			return false
		}
	}
	return len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0
}

// readYAML gives the objects of one document.
func readYAML(p part) ([]object, error) {
	var root yaml.Node
	text, ended := bytes.CutPrefix(p.text, []byte("..."))
	if ended {
		text = append([]byte("   "), text...)
	}
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	if len(root.Content) != 1 {
		return nil, nil
	}
	c := converter{lines: p.lines}
	value, _, err := c.value(root.Content[0], 0, 0)
	if err != nil {
		return nil, err
	}
	return objects(value, 0), nil
}

// converter makes of YAML what the checks take: plain values, and in each mapping
// the lines it is on.
type converter struct {
	lines int // before the document
	nodes int
}

// value gives the value and its last line. key is the line of the key that it is
// of, 0 for none: a mapping begins there.
func (c *converter) value(n *yaml.Node, key, depth int) (v any, last int, err error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, 0, errTooBig
	}
	if depth > maxDepth {
		return nil, 0, errTooDeep
	}
	switch n.Kind {
	case yaml.AliasNode:
		return c.value(n.Alias, key, depth+1)
	case yaml.MappingNode:
		return c.mapping(n, key, depth)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		last = n.Line
		for _, item := range n.Content {
			v, end, err := c.value(item, 0, depth+1)
			if err != nil {
				return nil, 0, err
			}
			out, last = append(out, v), max(last, end)
		}
		return out, last, nil
	}
	return scalar(n), n.Line, nil
}

func (c *converter) mapping(n *yaml.Node, key, depth int) (map[string]any, int, error) {
	out := make(map[string]any, len(n.Content)/2+1)
	last := n.Line
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, v)
			continue
		}
		if k.Kind != yaml.ScalarNode { // "{{ }}", most often
			return nil, 0, fmt.Errorf("line %d: a key that is no text", k.Line)
		}
		value, end, err := c.value(v, k.Line, depth+1)
		if err != nil {
			return nil, 0, err
		}
		out[k.Value], last = value, max(last, end)
	}
	for _, m := range merged { // what is there stays
		value, _, err := c.value(m, 0, depth+1)
		if err != nil {
			return nil, 0, err
		}
		merge(out, value)
	}
	if key == 0 {
		key = n.Line
	}
	out[linesKey] = lines(c.lines+key, c.lines+last)
	return out, last, nil
}

// merge is "<<": a mapping, or a list of them of which the first wins.
func merge(into map[string]any, from any) {
	switch from := from.(type) {
	case map[string]any:
		for k, v := range from {
			if _, ok := into[k]; !ok {
				into[k] = v
			}
		}
	case []any:
		for _, f := range from {
			if m, ok := f.(map[string]any); ok {
				merge(into, m)
			}
		}
	}
}

// linesKey is where the checks look for the lines of an object.
const linesKey = "__defsec_metadata"

func lines(from, to int) map[string]any {
	return map[string]any{"startline": from, "endline": to, "filepath": "", "offset": 0}
}

// scalar is a value as Kubernetes would read it. What is out of the range of its
// type stays text.
func scalar(n *yaml.Node) any {
	var v any
	if n.ShortTag() == "!!binary" || n.Decode(&v) != nil {
		return n.Value
	}
	switch v := v.(type) {
	case nil, bool, int, int64, uint64, string:
		return v
	case float64:
		if v-v != 0 { // infinite, or no number
			return n.Value
		}
		return v
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return n.Value
}

// objects are the Kubernetes objects of a document: itself, or those of a list.
func objects(v any, depth int) []object {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	kind, _ := m["kind"].(string)
	apiVersion, _ := m["apiVersion"].(string)
	if kind == "" || apiVersion == "" {
		return nil
	}
	if items, ok := m["items"].([]any); ok && strings.HasSuffix(kind, "List") && depth < 3 {
		var out []object
		for _, i := range items {
			out = append(out, objects(i, depth+1)...)
		}
		return out
	}
	meta, ok := m["metadata"].(map[string]any)
	if !ok {
		return nil
	}
	at, _ := m[linesKey].(map[string]any)
	o := object{kind: kind, body: m}
	o.from, _ = at["startline"].(int)
	o.to, _ = at["endline"].(int)
	for _, key := range []string{"name", "generateName"} {
		if s, ok := meta[key].(string); ok && o.name == "" {
			o.name = s
		}
	}
	return []object{o}
}

// String is the object for people.
func (o object) String() string { return strings.TrimSpace(fmt.Sprintf("%s %s", o.kind, o.name)) }
