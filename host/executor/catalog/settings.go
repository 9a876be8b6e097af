package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	maxSettings = 512
	maxPattern  = 1 << 10
	maxDefault  = 64 << 10
	maxOneOf    = 1000
)

// Setting is one that a plugin takes, checked and cleaned.
type Setting struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"` // string, int, float, bool, duration, bytes, string_list, string_map; "" for one this host does not know
	Required    bool     `json:"required"`
	Default     string   `json:"default,omitempty"` // as JSON; "" for none, or when it is sensitive
	Description string   `json:"description,omitempty"`
	Sensitive   bool     `json:"sensitive,omitempty"`
	OneOf       []string `json:"one_of,omitempty"`
	Min         *float64 `json:"min,omitempty"` // of a duration in seconds
	Max         *float64 `json:"max,omitempty"`
	Pattern     string   `json:"pattern,omitempty"`
	Deprecated  string   `json:"deprecated,omitempty"`

	pattern *regexp.Regexp
}

// Settings are all that a plugin takes.
type Settings []Setting

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// NewSettings checks what a plugin says it takes, and reports the first thing
// that is wrong with it.
func NewSettings(b *pluginv1.Block) (Settings, error) {
	if n := len(b.GetAttributes()); n > maxSettings {
		return nil, fmt.Errorf("it declares %d settings, at most %d are taken", n, maxSettings)
	}
	out := make(Settings, 0, len(b.GetAttributes()))
	for _, a := range b.GetAttributes() {
		s, err := newSetting(a)
		if err != nil {
			return nil, fmt.Errorf("its setting %q %w", clean.Line(a.GetName(), 64), err)
		}
		if out.find(s.Name) != nil {
			return nil, fmt.Errorf("it declares the setting %q twice", s.Name)
		}
		out = append(out, s)
	}
	return out, nil
}

func newSetting(a *pluginv1.Attribute) (Setting, error) {
	s := Setting{
		Name: a.GetName(), Type: typeName(a.GetType()), Required: a.GetRequired(),
		Description: clean.Line(a.GetDescription(), 512), Sensitive: a.GetSensitive(),
		Min: a.Min, Max: a.Max, Pattern: a.GetPattern(), Deprecated: clean.Line(a.GetDeprecated(), 256),
	}
	switch {
	case !settingName.MatchString(s.Name):
		return s, fmt.Errorf("does not match %s", settingName)
	case len(a.GetDefaultJson()) > maxDefault || a.GetDefaultJson() != "" && !json.Valid([]byte(a.GetDefaultJson())):
		return s, fmt.Errorf("has a default that is no JSON, or over %d bytes", maxDefault)
	case len(s.Pattern) > maxPattern:
		return s, fmt.Errorf("has a pattern over %d bytes", maxPattern)
	case len(a.GetOneOf()) > maxOneOf:
		return s, fmt.Errorf("allows more than %d values", maxOneOf)
	case unordered(a.Min, a.Max):
		return s, errors.New("has a min that is no number or over its max")
	}
	for _, v := range a.GetOneOf() {
		if clean.Line(v, 256) != v {
			return s, errors.New("allows a value that is no short line of text")
		}
		s.OneOf = append(s.OneOf, v)
	}
	if s.Pattern != "" {
		var err error
		if s.pattern, err = regexp.Compile(s.Pattern); err != nil {
			return s, errors.New("has a pattern that is no regular expression")
		}
		s.Pattern = clean.Line(s.Pattern, maxPattern)
	}
	if !s.Sensitive {
		s.Default = clean.Line(a.GetDefaultJson(), 1<<10)
	}
	return s, nil
}

func unordered(low, high *float64) bool {
	for _, v := range []*float64{low, high} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return true
		}
	}
	return low != nil && high != nil && *low > *high
}

func typeName(t pluginv1.Attribute_Type) string {
	if t == pluginv1.Attribute_TYPE_UNSPECIFIED || pluginv1.Attribute_Type_name[int32(t)] == "" {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(t.String(), "TYPE_"))
}

func (s Settings) find(name string) *Setting {
	for i := range s {
		if s[i].Name == name {
			return &s[i]
		}
	}
	return nil
}

// Mistake is what is wrong with one setting, for people. It never repeats a
// value, which may be secret.
type Mistake struct {
	Setting string // "" when it is about none
	Text    string // to be read after the setting's name: "must be a whole number, got a string"
}

func (m Mistake) String() string { return strings.TrimSpace(m.Setting + " " + m.Text) }

// Check holds raw, one JSON object, against the settings and gives every
// mistake. The plugin has the last word: it may refuse what passes here.
func (s Settings) Check(raw json.RawMessage) []Mistake {
	var given map[string]json.RawMessage
	if len(bytes.TrimSpace(raw)) > 0 && json.Unmarshal(raw, &given) != nil {
		return []Mistake{{Text: "the settings are not one JSON object"}}
	}
	var out []Mistake
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if s.find(name) == nil {
			out = append(out, Mistake{clean.Line(name, 64), "is no setting of this plugin. " + s.known()})
		}
	}
	for _, a := range s {
		text, ok := given[a.Name]
		switch {
		case !ok || string(text) == "null":
			if a.Required {
				out = append(out, Mistake{a.Name, "is required. " + a.Description})
			}
		default:
			if wrong := a.check(text); wrong != "" {
				out = append(out, Mistake{a.Name, wrong})
			}
		}
	}
	return out
}

// WrittenOut refuses those of literals, settings whose values are written out in
// a file, that the plugin calls sensitive.
func (s Settings) WrittenOut(literals map[string]bool) []Mistake {
	var out []Mistake
	for _, a := range s {
		if a.Sensitive && literals[a.Name] {
			out = append(out, Mistake{a.Name, `is sensitive and must not be written out in the file, nor as the default of env: refer to it with env("NAME") or trimspace(file("/run/secrets/name"))`})
		}
	}
	return out
}

func (s Settings) known() string {
	if len(s) == 0 {
		return "It takes none."
	}
	names := make([]string, len(s))
	for i, a := range s {
		names[i] = a.Name
	}
	return "It takes " + strings.Join(names, ", ") + "."
}

// check says what is wrong with a value; "" when nothing is.
func (s *Setting) check(text json.RawMessage) string {
	switch s.Type {
	case "string":
		var v string
		if json.Unmarshal(text, &v) != nil {
			return "must be a string, got " + kindOf(text)
		}
		return s.checkText(v)
	case "bool":
		if json.Unmarshal(text, new(bool)) != nil {
			return "must be true or false, got " + kindOf(text)
		}
	case "int", "bytes", "float":
		return s.checkNumber(text)
	case "duration":
		var v string
		if json.Unmarshal(text, &v) != nil {
			return `must be a duration such as "30s", got ` + kindOf(text)
		}
		d, err := time.ParseDuration(v)
		if err != nil {
			return `must be a duration such as "30s"`
		}
		return s.checkRange(d.Seconds())
	case "string_list":
		var v []string
		if json.Unmarshal(text, &v) != nil {
			return "must be a list of strings, got " + kindOf(text)
		}
		for _, e := range v {
			if wrong := s.checkText(e); wrong != "" {
				return wrong
			}
		}
	case "string_map":
		if json.Unmarshal(text, &map[string]string{}) != nil {
			return "must be an object of strings, got " + kindOf(text)
		}
	}
	return ""
}

func (s *Setting) checkText(v string) string {
	switch {
	case len(s.OneOf) > 0 && !slices.Contains(s.OneOf, v):
		return "must be one of " + strings.Join(s.OneOf, ", ")
	case s.pattern != nil && !s.pattern.MatchString(v):
		return "must match " + s.Pattern
	}
	return ""
}

// checkNumber checks a number; a size may be text such as "10MiB".
func (s *Setting) checkNumber(text json.RawMessage) string {
	var size string
	if s.Type == "bytes" && json.Unmarshal(text, &size) == nil {
		b, err := sdk.ParseBytes(size)
		if err != nil {
			return `must be a size such as "10MiB"`
		}
		return s.checkRange(float64(b))
	}
	var v float64
	if json.Unmarshal(text, &v) != nil {
		return "must be a number, got " + kindOf(text)
	}
	if s.Type != "float" && v != math.Trunc(v) {
		return "must be a whole number"
	}
	return s.checkRange(v)
}

func (s *Setting) checkRange(v float64) string {
	show := func(f float64) string {
		if s.Type == "duration" {
			return time.Duration(f * float64(time.Second)).String()
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	switch {
	case s.Min != nil && v < *s.Min:
		return "must be at least " + show(*s.Min)
	case s.Max != nil && v > *s.Max:
		return "must be at most " + show(*s.Max)
	}
	return ""
}

// kindOf names the JSON type of text.
func kindOf(text json.RawMessage) string {
	switch t := bytes.TrimSpace(text); t[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a bool"
	default:
		return "a number"
	}
}
