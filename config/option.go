package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Option is what a client may give with a scan of a type.
type Option struct {
	Type     string   `koanf:"type" doc:"What it is." oneof:"string,int,float,bool,string_list"`
	Doc      string   `koanf:"doc" doc:"What it means, for those who call the API: it is in the OpenAPI document." example:"How many links deep to look."`
	Default  Value    `koanf:"default" doc:"What a scan has when its client gives none. null: the option is then missing." example:"3"`
	Required bool     `koanf:"required" doc:"A scan without it is refused."`
	OneOf    []string `koanf:"one_of" doc:"What a string, or each string of a list, may be. Empty: anything." example:"[\"fast\", \"deep\"]"`
	Pattern  string   `koanf:"pattern" doc:"Regular expression (RE2) that a string, or each string of a list, must match. It matches anywhere unless it is anchored." example:"^[a-z]+$"`
	Min      Value    `koanf:"min" doc:"The least that a number may be, the characters that a string has at least, or the strings of a list. null: any." example:"1"`
	Max      Value    `koanf:"max" doc:"The same at most." example:"10"`
}

// What the options of a scan type may be in all.
const (
	maxScanOptions   = 32
	maxOptionPattern = 1 << 10 // bytes
	maxOptionDefault = 4 << 10 // bytes of JSON, of all options of a scan type together
)

// optionName is what an option may be called: what a plugin can call one of its
// own, since it gets it by that name, but without doubled underscores, which
// separate levels in a variable's name.
var optionName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// defaultOption is what an option block starts from.
func defaultOption() Option { return Option{Type: "string", OneOf: []string{}} }

// Value is a string, number, bool or list of strings, as JSON. The zero value is
// none.
type Value struct{ text string }

// UnmarshalText takes JSON; empty is none.
func (v *Value) UnmarshalText(text []byte) error {
	if len(text) > 0 && !json.Valid(text) {
		return errValue
	}
	v.text = string(text)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.text), nil }

func (v Value) String() string { return v.text }

// IsZero reports whether there is none.
func (v Value) IsZero() bool { return v.text == "" }

// decode gives what json makes of it, nil for none.
func (v Value) decode() any {
	if v.IsZero() {
		return nil
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(v.text))
	if err != nil {
		return nil // it was checked when it was read
	}
	return out
}

// valueFromCty reads a value of the file.
func valueFromCty(v cty.Value) (string, error) {
	text, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "", err
	}
	return string(text), checkValue(string(text))
}

// valueFromText reads a value of a variable: JSON, or else a string as it is.
func valueFromText(s string) (string, error) {
	if s == "" || checkValue(s) == nil {
		return s, nil
	}
	if json.Valid([]byte(s)) {
		return "", errValue
	}
	text, err := json.Marshal(s)
	return string(text), err
}

func checkValue(text string) error {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case float64:
		mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
		if v == 0 && strings.ContainsAny(mantissa, "123456789") {
			return errValue // too small for a double
		}
		return nil
	case string, bool:
		return nil
	case []any:
		for _, e := range v {
			if _, ok := e.(string); !ok {
				return errValue
			}
		}
		return nil
	default:
		return errValue
	}
}

// property is the option as JSON Schema.
func (o Option) property() map[string]any {
	out := map[string]any{"type": map[string]string{
		"string": "string", "int": "integer", "float": "number", "bool": "boolean", "string_list": "array",
	}[o.Type]}
	text, low, high := out, "minimum", "maximum"
	switch o.Type {
	case "string":
		low, high = "minLength", "maxLength"
	case "string_list":
		low, high = "minItems", "maxItems"
		text = map[string]any{"type": "string"}
		out["items"] = text
	}
	if len(o.OneOf) > 0 {
		values := make([]any, len(o.OneOf))
		for i, s := range o.OneOf {
			values[i] = s
		}
		text["enum"] = values
	}
	if o.Pattern != "" {
		text["pattern"] = o.Pattern
	}
	for name, v := range map[string]any{"description": o.Doc, "default": o.Default.decode(), low: o.Min.decode(), high: o.Max.decode()} {
		if v != nil && v != "" || name == "default" && v != nil {
			out[name] = v
		}
	}
	return out
}

// OptionsSchema is a JSON Schema of what a client may give with a scan of this
// type, by name; nil when there are no options.
func (s Scan) OptionsSchema() json.RawMessage {
	if len(s.Options) == 0 {
		return nil
	}
	properties, required := map[string]any{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		properties[name] = s.Options[name].property()
		if s.Options[name].Required {
			required = append(required, name)
		}
	}
	text, err := json.Marshal(map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	})
	if err != nil {
		panic(err) // strings, numbers and lists of them always marshal
	}
	return text
}

// options checks the options of a scan type.
func (c *checker) options(scan string, s Scan) {
	if len(s.Options) > maxScanOptions {
		c.diags = append(c.diags, problem(c.w.blocks["scan."+scan], "Too many options", "scan %q has %d options; at most %d are taken.", scan, len(s.Options), maxScanOptions)...)
	}
	bytes := 0
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		o, path := s.Options[name], "scan."+scan+".option."+name+"."
		if slices.Contains(s.Plugins, name) {
			c.diags = append(c.diags, problem(c.w.blocks[strings.TrimSuffix(path, ".")], "Ambiguous name",
				"scan %q has a plugin %q: what a client gives under that name is for the plugin alone. Give the option another name.", scan, name)...)
		}
		if bytes += len(o.Default.text); bytes > maxOptionDefault {
			c.bad(path+"default", "Defaults too large", "The defaults of the options of scan %q are larger than %d bytes together.", scan, maxOptionDefault)
			return
		}
		if c.ok(path+"type", path+"one_of", path+"pattern", path+"min", path+"max", path+"default") {
			c.option(path, o)
		}
	}
}

// option checks that what an option says of itself fits together. Every value
// was read.
func (c *checker) option(path string, o Option) {
	reported := len(c.diags)
	text := o.Type == "string" || o.Type == "string_list"
	if len(o.OneOf) > 0 && !text {
		c.bad(path+"one_of", "Setting without effect", "%sone_of is for the types string and string_list, and this is %q.", path, o.Type)
	}
	switch _, err := regexp.Compile(o.Pattern); {
	case o.Pattern != "" && !text:
		c.bad(path+"pattern", "Setting without effect", "%spattern is for the types string and string_list, and this is %q.", path, o.Type)
	case err != nil || len(o.Pattern) > maxOptionPattern:
		c.bad(path+"pattern", "Invalid pattern", "%spattern must be a regular expression (RE2) of at most %d bytes, such as %q.", path, maxOptionPattern, "^[a-z]+$")
	}
	c.bound(path+"min", o, o.Min)
	c.bound(path+"max", o, o.Max)
	if low, lok := bound(o.Min); lok {
		if high, hok := bound(o.Max); hok && low > high {
			c.bad(path+"max", "Limits contradict each other", "%smin is %s and %smax %s: nothing is within.", path, o.Min, path, o.Max)
		}
	}
	switch {
	case o.Default.IsZero() || len(c.diags) > reported:
	case o.Required:
		c.bad(path+"default", "Setting without effect", "%srequired is true, so the default is never used: take one of the two out.", path)
	default:
		if err := o.takes(o.Default); err != nil {
			c.bad(path+"default", "Invalid default", "%sdefault is %.64s, which the option itself does not take: %v.", path, o.Default, err)
		}
	}
}

// bound checks min or max.
func (c *checker) bound(path string, o Option, v Value) {
	n, ok := bound(v)
	switch {
	case v.IsZero():
	case o.Type == "bool":
		c.bad(path, "Setting without effect", "%s is for numbers, strings and lists, and this is %q.", path, o.Type)
	case !ok:
		c.bad(path, "Invalid value", "%s must be a number, not %.64s.", path, v)
	case o.Type != "float" && n != math.Trunc(n):
		c.bad(path, "Invalid value", "%s must be a whole number for the type %q, not %.64s.", path, o.Type, v)
	case strings.HasPrefix(o.Type, "string") && (n < 0 || n > math.MaxInt32):
		c.bad(path, "Invalid value", "%s must be between 0 and %d for the type %q, of which it is the length, not %.64s.", path, math.MaxInt32, o.Type, v)
	}
}

func bound(v Value) (float64, bool) {
	var n float64
	err := json.Unmarshal([]byte(v.text), &n)
	return n, err == nil
}

// takes reports whether a client could give v.
func (o Option) takes(v Value) error {
	compiler := jsonschema.NewCompiler()
	text, err := json.Marshal(o.property())
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err == nil {
		err = compiler.AddResource("option.json", doc)
	}
	if err != nil {
		return err
	}
	schema, err := compiler.Compile("option.json")
	if err != nil {
		return fmt.Errorf("its limits make no sense: %w", err)
	}
	if schema.Validate(v.decode()) == nil {
		return nil
	}
	return errors.New("it must be of its type and within one_of, pattern, min and max")
}
