package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// decode makes a settings struct of raw, one JSON object; empty counts as {}.
// It returns a pointer to the struct, and every mistake at once.
func (s *schema) decode(raw []byte) (any, []*pluginv1.Diagnostic) {
	var diags []*pluginv1.Diagnostic
	say := func(severity pluginv1.Diagnostic_Severity, name, summary, detail string) {
		d := &pluginv1.Diagnostic{
			Severity: severity,
			Summary:  clean(summary, maxTitle),
			Detail:   clean(detail, maxMessage),
		}
		if name != "" {
			d.AttributePath = []string{clean(name, maxTitle)}
		}
		diags = append(diags, d)
	}
	bad := func(name, summary, detail string) { say(pluginv1.Diagnostic_SEVERITY_ERROR, name, summary, detail) }
	given, err := object(raw)
	if err != nil {
		bad("", "the settings are not one JSON object", err.Error())
		return nil, diags
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if s.find(name) == nil {
			bad(name, fmt.Sprintf("there is no setting %.64q", name), s.known())
		}
	}
	out := reflect.New(s.typ)
	for i := range s.attrs {
		a := &s.attrs[i]
		text, ok := given[a.Name]
		switch {
		case ok && string(text) != "null":
			if a.Deprecated != "" {
				say(pluginv1.Diagnostic_SEVERITY_WARNING, a.Name, fmt.Sprintf("%q is deprecated", a.Name), a.Deprecated)
			}
		case a.Required:
			bad(a.Name, fmt.Sprintf("%q is required", a.Name), a.Description)
			continue
		case a.DefaultJson != "":
			text = json.RawMessage(a.DefaultJson)
		default:
			continue
		}
		if problem := setValue(a, text, out.Elem().Field(a.field)); problem != "" {
			bad(a.Name, fmt.Sprintf("%q %s", a.Name, problem), a.Description)
		}
	}
	if v, ok := out.Interface().(interface{ Validate() error }); ok && !wrong(diags) {
		if err := v.Validate(); err != nil {
			bad("", oneLine(err.Error(), maxTitle), "")
		}
	}
	return out.Interface(), diags
}

// wrong reports whether there is a mistake among diags, and not only remarks.
func wrong(diags []*pluginv1.Diagnostic) bool {
	return slices.ContainsFunc(diags, func(d *pluginv1.Diagnostic) bool {
		return d.Severity == pluginv1.Diagnostic_SEVERITY_ERROR
	})
}

func (s *schema) known() string {
	if len(s.attrs) == 0 {
		return "This takes no settings."
	}
	names := make([]string, len(s.attrs))
	for i, a := range s.attrs {
		names[i] = a.Name
	}
	return "It takes " + strings.Join(names, ", ") + "."
}

func object(raw []byte) (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		// The decoder's own words may quote a value, which may be a secret.
		return nil, fmt.Errorf("give an object such as {} (%d bytes were given)", len(raw))
	}
	return m, nil
}

// setValue checks text against a and stores it in v. It returns what is wrong,
// to be read after the setting's name; "" when nothing is.
func setValue(a *attribute, text json.RawMessage, v reflect.Value) string {
	switch a.Type {
	case pluginv1.Attribute_TYPE_STRING:
		var s string
		if json.Unmarshal(text, &s) != nil {
			return "must be a string, " + got(text)
		}
		v.SetString(s)
		return outside(a, s)
	case pluginv1.Attribute_TYPE_BOOL:
		var b bool
		if json.Unmarshal(text, &b) != nil {
			return "must be true or false, " + got(text)
		}
		v.SetBool(b)
	case pluginv1.Attribute_TYPE_INT, pluginv1.Attribute_TYPE_BYTES:
		n, problem := whole(a.Attribute, text)
		if problem != "" {
			return problem
		}
		if v.OverflowInt(n) {
			return fmt.Sprintf("is too large for %d bits", v.Type().Bits())
		}
		v.SetInt(n)
		return outOfRange(a.Attribute, float64(n))
	case pluginv1.Attribute_TYPE_FLOAT:
		var n float64
		if json.Unmarshal(text, &n) != nil {
			return "must be a number, " + got(text)
		}
		v.SetFloat(n)
		return outOfRange(a.Attribute, n)
	case pluginv1.Attribute_TYPE_DURATION:
		var s string
		if json.Unmarshal(text, &s) != nil {
			return `must be a duration such as "30s", ` + got(text)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return `must be a duration such as "30s"`
		}
		v.SetInt(int64(d))
		return outOfRange(a.Attribute, d.Seconds())
	case pluginv1.Attribute_TYPE_STRING_LIST:
		var l []string
		if json.Unmarshal(text, &l) != nil {
			return "must be a list of strings, " + got(text)
		}
		v.Set(reflect.ValueOf(l))
		for _, s := range l {
			if problem := outside(a, s); problem != "" {
				return problem
			}
		}
	case pluginv1.Attribute_TYPE_STRING_MAP:
		var m map[string]string
		if json.Unmarshal(text, &m) != nil {
			return "must be an object of strings, " + got(text)
		}
		v.Set(reflect.ValueOf(m))
	}
	return ""
}

// whole reads an integer; for a size also text such as "10MiB".
func whole(a *pluginv1.Attribute, text json.RawMessage) (int64, string) {
	want := "must be a whole number, "
	if a.Type == pluginv1.Attribute_TYPE_BYTES {
		want = "must be a number of bytes, "
		var s string
		if json.Unmarshal(text, &s) == nil {
			b, err := ParseBytes(s)
			if err != nil {
				return 0, `must be a size such as "10MiB"`
			}
			return int64(b), ""
		}
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, ""
	}
	var f float64
	if json.Unmarshal(text, &f) != nil {
		return 0, want + got(text)
	}
	if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, want + "got a fraction or a number out of reach"
	}
	return int64(f), ""
}

func outside(a *attribute, s string) string {
	switch {
	case len(a.OneOf) > 0 && !slices.Contains(a.OneOf, s):
		return "must be one of " + strings.Join(a.OneOf, ", ")
	case a.pattern != nil && !a.pattern.MatchString(s):
		return "must match " + a.Pattern
	}
	return ""
}

func outOfRange(a *pluginv1.Attribute, n float64) string {
	show := func(f float64) string {
		switch a.Type {
		case pluginv1.Attribute_TYPE_DURATION:
			return time.Duration(f * float64(time.Second)).String()
		case pluginv1.Attribute_TYPE_BYTES:
			return Bytes(f).String()
		}
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	switch {
	case a.Min != nil && n < *a.Min:
		return "must be at least " + show(*a.Min)
	case a.Max != nil && n > *a.Max:
		return "must be at most " + show(*a.Max)
	}
	return ""
}

// got names the JSON type of text; never the value, which may be sensitive.
func got(text json.RawMessage) string {
	switch t := bytes.TrimSpace(text); {
	case len(t) == 0:
		return "got nothing"
	case t[0] == '"':
		return "got a string"
	case t[0] == '{':
		return "got an object"
	case t[0] == '[':
		return "got a list"
	case t[0] == 't', t[0] == 'f':
		return "got a bool"
	case t[0] == 'n':
		return "got null"
	default:
		return "got a number"
	}
}
