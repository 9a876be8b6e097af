package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A value in a layer is canonical: int, float64, bool, []string and map[string]any of
// strings as they are, everything else as text that koanf decodes into the
// field: "10m", "50MiB", "1s..1m", "100/1m", the JSON of a free-form block.

// canonical gives the value of a field of the struct.
func (n *node) canonical(f reflect.Value) any {
	switch v := f.Interface().(type) {
	case Secret:
		return v.Reveal()
	case time.Duration:
		return FormatDuration(v)
	case ByteSize:
		return v.String()
	case BackoffRange:
		return v.String()
	case Rate:
		return v.String()
	case Value:
		return v.String()
	case json.RawMessage:
		return string(v)
	case map[string]string:
		m := map[string]any{}
		for k, s := range v {
			m[k] = s
		}
		return m
	default: // string, int, float64, bool, []string
		return v
	}
}

var (
	// errValue says that a value is not as wants describes.
	errValue = errors.New("not allowed")
	// errControl says that a string has a line break or the like.
	errControl = errors.New("control character")
)

// varName is the name of an environment variable.
var varName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// fromText reads a value as it is written in a variable or a flag.
func (n *node) fromText(s string) (any, error) {
	switch n.kind {
	case kindInt:
		v, err := wholeNumber(s)
		if err != nil {
			return nil, err
		}
		return v, n.checkRange(s)
	case kindNumber:
		v, err := number(s)
		if err != nil {
			return nil, err
		}
		return v, n.checkRange(s)
	case kindBool:
		return strconv.ParseBool(strings.TrimSpace(s))
	case kindList:
		return listFromText(s)
	case kindVars:
		m, err := varsFromText(s)
		return m, errors.Join(err, checkVars(m))
	case kindValue:
		return valueFromText(s)
	case kindObject:
		return objectFromText(s)
	default:
		return s, n.checkText(s)
	}
}

// checkText checks the kinds that stay text in a layer.
func (n *node) checkText(s string) error {
	switch n.kind {
	case kindDuration:
		if _, err := time.ParseDuration(s); err != nil {
			return err
		}
	case kindSize:
		if err := new(ByteSize).UnmarshalText([]byte(s)); err != nil {
			return err
		}
	case kindRange:
		r := BackoffRange{}
		if err := r.UnmarshalText([]byte(s)); err != nil {
			return err
		}
		low, high := r.Min.String(), r.Max.String()
		return errors.Join(n.checkRange(low), n.checkRange(high))
	case kindRate:
		if err := new(Rate).UnmarshalText([]byte(s)); err != nil {
			return err
		}
	case kindString, kindSecret:
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errControl
		}
	}
	if len(n.oneOf) > 0 && !slices.Contains(n.oneOf, s) {
		return errValue
	}
	return n.checkRange(s)
}

// checkRange holds s against min and max.
func (n *node) checkRange(s string) error {
	v := n.measure(s)
	if n.min != "" && v < n.measure(n.min) || n.max != "" && v > n.measure(n.max) {
		return errValue
	}
	return nil
}

// measure gives a checked text of a kind that has an order as a number.
func (n *node) measure(s string) float64 {
	switch n.kind {
	case kindInt, kindNumber:
		v, _ := number(s)
		return v
	case kindDuration, kindRange:
		v, _ := time.ParseDuration(s)
		return float64(v)
	case kindSize:
		var v ByteSize
		_ = v.UnmarshalText([]byte(s))
		return float64(v)
	default:
		return 0
	}
}

// listFromText reads "a,b" or a JSON list of strings; empty is the empty list.
func listFromText(s string) ([]string, error) {
	out := []string{}
	if strings.HasPrefix(strings.TrimSpace(s), "[") {
		err := json.Unmarshal([]byte(s), &out)
		return out, err
	}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out, nil
}

// varsFromText reads "A=x,B=y" or a JSON object of strings.
func varsFromText(s string) (map[string]any, error) {
	out := map[string]any{}
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		m := map[string]string{}
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			return nil, err
		}
		for k, v := range m {
			out[k] = v
		}
		return out, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, errValue
		}
		out[strings.TrimSpace(k)] = v
	}
	return out, nil
}

// checkVars checks the names and values of environment variables.
func checkVars(m map[string]any) error {
	for k, v := range m {
		if s, _ := v.(string); !varName.MatchString(k) || strings.ContainsRune(s, 0) {
			return errValue
		}
	}
	return nil
}

// objectFromText reads a JSON object and returns it compact.
func objectFromText(s string) (string, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		return "", err
	}
	if m == nil { // null
		return "", errValue
	}
	var b bytes.Buffer
	err := json.Compact(&b, []byte(s))
	return b.String(), err
}

// wants says what is allowed, with an example, as "a size of at least 1KiB,
// such as \"50MiB\"".
func (n *node) wants() string {
	var what, example string
	switch n.kind {
	case kindInt:
		what = "a whole number"
	case kindNumber:
		what = "a number"
	case kindRate:
		what = "a rate (a count, a slash and a time from 1s to 24h) or 0"
	case kindBool:
		return "true or false"
	case kindDuration:
		what = "a duration with a unit"
	case kindSize:
		what = "a size with a unit"
	case kindRange:
		what = "a range of two durations"
	case kindList:
		what, example = "a list of strings", `["a", "b"]`
	case kindVars:
		what, example = "a map of strings", `{ NAME = "value" }`
	case kindValue:
		what = "a string, number, true, false or list of strings"
	case kindObject:
		what, example = "a JSON object", `{"max_size": 1000}`
	default:
		what = "a string"
	}
	if len(n.oneOf) > 0 {
		return "one of " + orList(n.oneOf)
	}
	switch {
	case n.min != "" && n.max != "":
		what += fmt.Sprintf(" between %s and %s", n.min, n.max)
	case n.min != "":
		what += " of at least " + n.min
	}
	if n.example != "" {
		example = n.example
		if n.kind == kindString || n.kind == kindSecret {
			example = strconv.Quote(example)
		}
	}
	if example != "" {
		what += ", such as " + example
	}
	return what
}

// display shows a canonical value to people, as it is written in the file.
func (n *node) display(v any) string {
	if m, ok := v.(map[string]any); ok {
		return displayKeys(slices.Sorted(maps.Keys(m)))
	}
	if n.kind == kindObject {
		var m map[string]json.RawMessage
		_ = json.Unmarshal([]byte(v.(string)), &m) // canonical, so it is an object
		return displayKeys(slices.Sorted(maps.Keys(m)))
	}
	if n.sensitive {
		if v == "" {
			return `""`
		}
		return sensitive
	}
	if n.kind == kindValue { // JSON of these is HCL as well
		return cmp.Or(v.(string), "null")
	}
	switch v := v.(type) {
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}

// displayKeys shows the names of values that may be secret.
func displayKeys(keys []string) string {
	if len(keys) == 0 {
		return "{}"
	}
	for i, k := range keys {
		keys[i] = k + " = " + sensitive
	}
	return "{ " + strings.Join(keys, ", ") + " }"
}

// orList is "a", "b" or "c".
func orList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
