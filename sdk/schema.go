package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const maxPattern = 1 << 10 // bytes

// schema is a settings struct as the wire knows it, and how to fill one.
type schema struct {
	typ   reflect.Type
	attrs []attribute
}

type attribute struct {
	*pluginv1.Attribute
	field   int            // index in the struct
	pattern *regexp.Regexp // nil: any
}

// newSchema reads the fields and tags of the struct type t. Its errors are the
// plugin author's.
func newSchema(t reflect.Type) (*schema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings must be a struct, not %s", t)
	}
	s := &schema{typ: t}
	var errs []error
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		a, err := newAttribute(f, i)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.%s: %w", t, f.Name, err))
			continue
		}
		if s.find(a.Name) != nil {
			errs = append(errs, fmt.Errorf("%s.%s: the name %q is taken", t, f.Name, a.Name))
			continue
		}
		s.attrs = append(s.attrs, a)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func newAttribute(f reflect.StructField, i int) (attribute, error) {
	none := attribute{}
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = snakeCase(f.Name)
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`).MatchString(name) {
		return none, fmt.Errorf("the name %q must be lower-case letters, digits and _", name)
	}
	typ, err := attributeType(f.Type)
	if err != nil {
		return none, err
	}
	a := attribute{field: i, Attribute: &pluginv1.Attribute{
		Name: name, Type: typ, Description: f.Tag.Get("doc"), Deprecated: f.Tag.Get("deprecated"),
	}}
	if a.Required, err = boolTag(f, "required"); err != nil {
		return none, err
	}
	if a.Required && a.Deprecated != "" {
		return none, errors.New("required and deprecated exclude each other")
	}
	if a.Sensitive, err = boolTag(f, "sensitive"); err != nil {
		return none, err
	}
	if a.Min, err = boundTag(f, typ, "min"); err != nil {
		return none, err
	}
	if a.Max, err = boundTag(f, typ, "max"); err != nil {
		return none, err
	}
	if v, ok := f.Tag.Lookup("one_of"); ok {
		if err := ofText(typ, f, "one_of"); err != nil {
			return none, err
		}
		a.OneOf = strings.Split(v, ",")
	}
	if err := patternTag(f, &a); err != nil {
		return none, err
	}
	return a, defaultTag(f, &a)
}

func ofText(typ pluginv1.Attribute_Type, f reflect.StructField, tag string) error {
	if typ != pluginv1.Attribute_TYPE_STRING && typ != pluginv1.Attribute_TYPE_STRING_LIST {
		return fmt.Errorf("%s is for strings, not %s", tag, f.Type)
	}
	return nil
}

func patternTag(f reflect.StructField, a *attribute) error {
	v, ok := f.Tag.Lookup("pattern")
	if !ok {
		return nil
	}
	if err := ofText(a.Type, f, "pattern"); err != nil {
		return err
	}
	if len(v) > maxPattern {
		return fmt.Errorf("pattern has %d bytes; at most %d", len(v), maxPattern)
	}
	var err error
	if a.pattern, err = regexp.Compile(v); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	a.Pattern = v
	return nil
}

func attributeType(t reflect.Type) (pluginv1.Attribute_Type, error) {
	switch {
	case t == reflect.TypeFor[Bytes]():
		return pluginv1.Attribute_TYPE_BYTES, nil
	case t == reflect.TypeFor[time.Duration]():
		return pluginv1.Attribute_TYPE_DURATION, nil
	case t.Kind() == reflect.String:
		return pluginv1.Attribute_TYPE_STRING, nil
	case t.Kind() == reflect.Bool:
		return pluginv1.Attribute_TYPE_BOOL, nil
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return pluginv1.Attribute_TYPE_INT, nil
	case t.Kind() == reflect.Float64:
		return pluginv1.Attribute_TYPE_FLOAT, nil
	case t == reflect.TypeFor[[]string]():
		return pluginv1.Attribute_TYPE_STRING_LIST, nil
	case t == reflect.TypeFor[map[string]string]():
		return pluginv1.Attribute_TYPE_STRING_MAP, nil
	}
	return 0, fmt.Errorf("the type %s cannot be a setting", t)
}

func boolTag(f reflect.StructField, tag string) (bool, error) {
	v, ok := f.Tag.Lookup(tag)
	if !ok {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf(`%s must be "true" or "false", not %q`, tag, v)
	}
	return b, nil
}

// boundTag reads min or max. A duration's bound is in seconds on the wire.
func boundTag(f reflect.StructField, typ pluginv1.Attribute_Type, tag string) (*float64, error) {
	v, ok := f.Tag.Lookup(tag)
	if !ok {
		return nil, nil
	}
	var n float64
	var err error
	switch typ {
	case pluginv1.Attribute_TYPE_INT, pluginv1.Attribute_TYPE_FLOAT:
		n, err = strconv.ParseFloat(v, 64)
	case pluginv1.Attribute_TYPE_BYTES:
		var b Bytes
		b, err = ParseBytes(v)
		n = float64(b)
	case pluginv1.Attribute_TYPE_DURATION:
		var d time.Duration
		d, err = time.ParseDuration(v)
		n = d.Seconds()
	default:
		err = fmt.Errorf("%s has no order", f.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tag, err)
	}
	return &n, nil
}

// defaultTag turns the tag's text into JSON and checks it like a given value.
func defaultTag(f reflect.StructField, a *attribute) error {
	v, ok := f.Tag.Lookup("default")
	if !ok {
		return nil
	}
	if a.Required {
		return errors.New("required and default exclude each other")
	}
	text := v
	switch a.Type {
	case pluginv1.Attribute_TYPE_STRING, pluginv1.Attribute_TYPE_DURATION:
		text = mustJSON(v)
	case pluginv1.Attribute_TYPE_BYTES:
		b, err := ParseBytes(v)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		text = strconv.FormatInt(int64(b), 10)
	case pluginv1.Attribute_TYPE_STRING_LIST:
		text = mustJSON(slices.DeleteFunc(strings.Split(v, ","), func(s string) bool { return s == "" }))
	}
	a.DefaultJson = text
	if problem := setValue(a, json.RawMessage(text), reflect.New(f.Type).Elem()); problem != "" {
		return fmt.Errorf("default %q: %s", v, problem)
	}
	return nil
}

func (s *schema) find(name string) *attribute {
	for i := range s.attrs {
		if s.attrs[i].Name == name {
			return &s.attrs[i]
		}
	}
	return nil
}

// block is the schema on the wire; nil when there are no settings.
func (s *schema) block() *pluginv1.Block {
	b := &pluginv1.Block{}
	for _, a := range s.attrs {
		b.Attributes = append(b.Attributes, a.Attribute)
	}
	return b
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and lists of them always marshal
	}
	return string(b)
}

// snakeCase turns MaxFileSize into max_file_size and BaseURL into base_url.
func snakeCase(s string) string {
	var b strings.Builder
	rs := []rune(s)
	for i, r := range rs {
		if unicode.IsUpper(r) && i > 0 &&
			(!unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
