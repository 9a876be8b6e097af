package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/spf13/pflag"
)

// EnvPrefix starts every environment variable that is a setting.
const EnvPrefix = "SECURETAG_"

// envName is the variable of a path: scan.code-audit.timeout is
// SECURETAG_SCAN__CODE_AUDIT__TIMEOUT.
func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "__", "-", "_").Replace(path))
}

// overlay reads the layers of one value each: variables and flags.
type overlay struct {
	schema  *node
	diags   hcl.Diagnostics
	origins map[string]origin
	broken  map[string]bool
}

// take reads one value; from is where it comes from.
func (o *overlay) take(path, text string, from origin) (any, bool) {
	n := o.schema.find(path)
	o.origins[path] = from
	v, err := n.fromText(text)
	if err != nil {
		what := fmt.Sprintf("%.64q", text)
		if n.sensitive || n.kind == kindObject {
			what = ""
		}
		o.broken[path] = true
		detail := n.explain(path, what, err)
		switch n.kind {
		case kindList:
			detail += " Here it is written as a,b or as a JSON list."
		case kindVars:
			detail += " Here it is written as NAME=value,OTHER=value or as a JSON object."
		}
		o.diags = append(o.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Invalid value of " + from.name(), Detail: detail})
		return nil, false
	}
	return v, true
}

// paths lists every setting of a merged layer, blocks' labels included.
func (n *node) paths(layer map[string]any, prefix string) []string {
	var out []string
	for _, c := range n.children {
		switch c.kind {
		case kindBlock:
			out = append(out, c.paths(layer[c.name].(map[string]any), prefix+c.name+".")...)
		case kindLabelled:
			group := layer[c.name].(map[string]any)
			for _, l := range slices.Sorted(maps.Keys(group)) {
				out = append(out, c.paths(group[l].(map[string]any), prefix+c.name+"."+l+".")...)
			}
		default:
			out = append(out, prefix+c.name)
		}
	}
	return out
}

// env reads the variables. A variable overrides a setting of a block that is
// there: it declares none, so that a typing mistake is found.
func (o *overlay) env(opts Options, paths []string) (map[string]any, error) {
	known := map[string]string{}
	for _, p := range paths {
		known[envName(p)] = p
	}
	names := slices.Sorted(maps.Keys(known))
	p := env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return opts.Environ },
		TransformFunc: func(name, text string) (string, any) {
			path, ok := known[name]
			if !ok {
				if !slices.Contains(opts.KnownEnv, name) && !serviceLink.MatchString(name) {
					o.unknownVar(name, names)
				}
				return "", nil
			}
			v, ok := o.take(path, text, origin{env: name})
			if !ok {
				return "", nil
			}
			return path, v
		},
	})
	return p.Read()
}

// serviceLink fits what Kubernetes puts into every container beside a service
// called "securetag". None of these could be a setting.
var serviceLink = regexp.MustCompile(`^SECURETAG_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

func (o *overlay) unknownVar(name string, names []string) {
	detail := fmt.Sprintf("Variables that begin with %s are settings, and there is no %.128q.", EnvPrefix, name)
	s := suggest(name, names)
	if s == "" {
		s = " The name is the setting's path in capitals, with two underscores between its levels, such as SECURETAG_SERVER__LISTEN; the name of a scan or plugin must be built in or declared in the file."
	}
	o.diags = append(o.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Unknown environment variable", Detail: detail + s})
}

// flagPath is the annotation that ties a flag to its setting.
const flagPath = "securetag.io/setting"

// AddFlag defines a flag that overrides the setting at path, such as
// AddFlag(fs, "listen", "server.listen"). It panics when there is no such
// setting.
func AddFlag(fs *pflag.FlagSet, name, path string) {
	n := newSchema().find(path)
	if n == nil || n.isBlock() {
		panic("config: no setting " + path + " for the flag --" + name)
	}
	fs.Var(&flagValue{kind: n.kind}, name, fmt.Sprintf("%s (setting %s)", strings.TrimSuffix(n.doc, "."), path))
	if n.kind == kindBool {
		fs.Lookup(name).NoOptDefVal = "true"
	}
	fs.Lookup(name).Annotations = map[string][]string{flagPath: {path}}
}

// flagValue keeps a flag's text; it is read with the other layers.
type flagValue struct {
	kind kind
	text string
}

func (v *flagValue) String() string     { return v.text }
func (v *flagValue) Set(s string) error { v.text = s; return nil }
func (v *flagValue) Type() string {
	switch v.kind {
	case kindInt:
		return "number"
	case kindBool:
		return "bool"
	case kindDuration:
		return "duration"
	case kindSize:
		return "size"
	default:
		return "string"
	}
}

// flags reads the flags that were given.
func (o *overlay) flags(fs *pflag.FlagSet) (map[string]any, error) {
	if fs == nil {
		return map[string]any{}, nil
	}
	return posflag.ProviderWithFlag(fs, ".", nil, func(f *pflag.Flag) (string, any) {
		path := f.Annotations[flagPath]
		if !f.Changed || len(path) == 0 {
			return "", nil
		}
		v, ok := o.take(path[0], f.Value.String(), origin{flag: f.Name})
		if !ok {
			return "", nil
		}
		return path[0], v
	}).Read()
}
