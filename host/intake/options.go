package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/securetaghq/securetag/host"
)

// maxTypeOptions is how many options a scan type may have.
const maxTypeOptions = 32

// options are those of a scan type, ready to be checked against. The zero value
// is a type without any.
type options struct {
	properties map[string]*jsonschema.Schema
	required   []string
	defaults   map[string]any
}

// newOptions reads a JSON Schema of an object.
func newOptions(schema json.RawMessage) (options, error) {
	if schema == nil {
		return options{}, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return options{}, fmt.Errorf("the schema of its options is no JSON: %w", err)
	}
	const name = "options.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return options{}, fmt.Errorf("the schema of its options: %w", err)
	}
	s, err := c.Compile(name)
	if err != nil {
		return options{}, fmt.Errorf("the schema of its options: %w", err)
	}
	if len(s.Properties) > maxTypeOptions {
		return options{}, fmt.Errorf("it has %d options; at most %d are taken", len(s.Properties), maxTypeOptions)
	}
	o := options{properties: s.Properties, required: slices.Sorted(slices.Values(s.Required)), defaults: map[string]any{}}
	for name, p := range s.Properties {
		if p.Default == nil {
			continue
		}
		if err := p.Validate(*p.Default); err != nil {
			return options{}, fmt.Errorf("the default of its option %q: %w", name, err)
		}
		o.defaults[name] = *p.Default
	}
	return o, nil
}

// CheckOptions holds what a client gives with a scan of a type against what the
// type takes, and gives it back with the defaults filled in. It is one JSON
// object: under the name of an option that option, under the name of a plugin
// of the type an object for that plugin, which looks at it when the job runs. A
// [*Refusal] names everything that is wrong. What was given back may be checked
// again, and stays as it is.
func (in *Intake) CheckOptions(scanType string, raw json.RawMessage) (json.RawMessage, error) {
	r := in.rules.Load()
	i := slices.IndexFunc(r.types, func(t ScanType) bool { return t.Name == scanType })
	if i < 0 {
		return nil, refuse(host.ErrNotFound, "unknown_scan_type", "", "There is no scan type %.64q.", scanType)
	}
	return r.options[scanType].check(raw, r.types[i])
}

// check is CheckOptions of a type.
func (o options) check(raw json.RawMessage, t ScanType) (json.RawMessage, error) {
	compact, err := ParseOptions(raw)
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	if compact != nil {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(compact))
		if err != nil {
			return nil, fmt.Errorf("read options: %w", err) // ParseOptions made them
		}
		given, _ = v.(map[string]any)
	}
	if faults := o.faults(given, t); len(faults) > 0 {
		return nil, &Refusal{Field: faults[0].Field, Detail: faults[0].Detail, Faults: faults, Err: host.ErrInvalid}
	}
	filled := false
	for name, v := range o.defaults {
		if _, ok := given[name]; !ok {
			given[name], filled = v, true
		}
	}
	if !filled {
		return compact, nil
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(given); err != nil {
		return nil, fmt.Errorf("write options: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// faults lists what is wrong with given, by name.
func (o options) faults(given map[string]any, t ScanType) []Fault {
	var out []Fault
	bad := func(name, format string, args ...any) {
		out = append(out, Fault{Field: "options/" + escape(name), Detail: fmt.Sprintf(format, args...)})
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		property, known := o.properties[name]
		_, object := given[name].(map[string]any)
		switch {
		case known && property.Validate(given[name]) != nil:
			bad(name, "The option %q must be %s.", name, wants(property))
		case known || object && slices.Contains(t.Plugins, name):
		case slices.Contains(t.Plugins, name):
			bad(name, "The options of plugin %q must be a JSON object.", name)
		case len(o.properties) == 0:
			bad(name, "The options have a member %.64q. Each member must be the name of a plugin of scan type %q: %s.", name, t.Name, strings.Join(t.Plugins, ", "))
		default:
			bad(name, "Scan type %q has no option %.64q. Its options are %s; an object for a plugin stands under the plugin's name: %s.",
				t.Name, name, strings.Join(slices.Sorted(maps.Keys(o.properties)), ", "), strings.Join(t.Plugins, ", "))
		}
	}
	for _, name := range o.required {
		if _, ok := given[name]; !ok {
			bad(name, "The option %q is required: %s.", name, wants(o.properties[name]))
		}
	}
	return out
}

// wants says what an option may be, for people: "a whole number between 1 and
// 10".
func wants(s *jsonschema.Schema) string {
	var what, unit string
	low, high, text := number(s.Minimum), number(s.Maximum), s
	switch strings.Join(s.Types.ToStrings(), "") {
	case "integer":
		what = "a whole number"
	case "number":
		what = "a number"
	case "boolean":
		return "true or false"
	case "array":
		what, unit, low, high = "a list of strings", " strings", count(s.MinItems), count(s.MaxItems)
		if s.Items2020 != nil {
			text = s.Items2020
		}
	default:
		what, unit, low, high = "a string", " characters", count(s.MinLength), count(s.MaxLength)
	}
	if text.Enum != nil {
		var values []string
		for _, v := range text.Enum.Values {
			values = append(values, fmt.Sprintf("%q", v))
		}
		if text != s {
			return what + ", each one of " + strings.Join(values, ", ")
		}
		return "one of " + strings.Join(values, ", ")
	}
	if text.Pattern != nil {
		what += " that matches " + text.Pattern.String()
		if text != s {
			what = "a list of strings that each match " + text.Pattern.String()
		}
	}
	if unit != "" && (low != "" || high != "") {
		what += " of"
	}
	switch {
	case low != "" && high != "":
		what += " between " + low + " and " + high + unit
	case low != "":
		what += " at least " + low + unit
	case high != "":
		what += " at most " + high + unit
	}
	return what
}

func number(r *big.Rat) string {
	if r == nil {
		return ""
	}
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

func count(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// allOptions reads those of every type.
func allOptions(types []ScanType) (map[string]options, []error) {
	out, errs := map[string]options{}, []error(nil)
	for _, t := range types {
		o, err := newOptions(t.Options)
		if err != nil {
			errs = append(errs, fmt.Errorf("scan type %q: %w", t.Name, err))
		}
		out[t.Name] = o
	}
	return out, errs
}
