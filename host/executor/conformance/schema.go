package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

const maxPattern = 1 << 10

// checkBlock reports what is wrong with a schema.
func checkBlock(where string, b *pluginv1.Block) error {
	var errs []error
	seen := map[string]bool{}
	for _, a := range b.GetAttributes() {
		if seen[a.GetName()] {
			errs = append(errs, fmt.Errorf("%s: %s is declared twice", where, quote(a.GetName())))
		}
		seen[a.GetName()] = true
		if why := checkAttribute(a); why != "" {
			errs = append(errs, fmt.Errorf("%s: %s %s", where, quote(a.GetName()), why))
		}
	}
	return errors.Join(errs...)
}

func checkAttribute(a *pluginv1.Attribute) string {
	text := a.GetType() == pluginv1.Attribute_TYPE_STRING || a.GetType() == pluginv1.Attribute_TYPE_STRING_LIST
	_, patternErr := regexp.Compile(a.GetPattern())
	switch {
	case !attributeName.MatchString(a.GetName()):
		return "is not a name: " + attributeName.String()
	case a.GetType() == pluginv1.Attribute_TYPE_UNSPECIFIED || pluginv1.Attribute_Type_name[int32(a.GetType())] == "":
		return "has no known type"
	case (a.Min != nil || a.Max != nil) && !numeric(a):
		return "has a min or max, which is for numbers, sizes and durations"
	case math.IsNaN(a.GetMin()) || math.IsNaN(a.GetMax()):
		return "has a bound that is not a number"
	case a.Min != nil && a.Max != nil && a.GetMin() > a.GetMax():
		return "has a min above its max"
	case a.GetPattern() != "" && !text:
		return "has a pattern, which is for strings and lists of them"
	case len(a.GetPattern()) > maxPattern:
		return "has a pattern of more than 1 KiB"
	case patternErr != nil:
		return "has a pattern that is not RE2: " + patternErr.Error()
	case a.GetRequired() && a.GetDefaultJson() != "":
		return "is required and has a default"
	case a.GetDefaultJson() == "":
		return ""
	}
	var v any
	if json.Unmarshal([]byte(a.GetDefaultJson()), &v) != nil {
		return "has a default that is not JSON: " + quote(a.GetDefaultJson())
	}
	if why := wrongValue(a, v); why != "" {
		return "has a default that it refuses: " + why
	}
	return ""
}

func numeric(a *pluginv1.Attribute) bool {
	switch a.GetType() {
	case pluginv1.Attribute_TYPE_INT, pluginv1.Attribute_TYPE_FLOAT, pluginv1.Attribute_TYPE_BYTES, pluginv1.Attribute_TYPE_DURATION:
		return true
	}
	return false
}

// wrongValue says why a value does not fit an attribute, "" when it does.
func wrongValue(a *pluginv1.Attribute, v any) string {
	switch a.GetType() {
	case pluginv1.Attribute_TYPE_STRING:
		s, ok := v.(string)
		if !ok {
			return "not a string"
		}
		return wrongText(a, s)
	case pluginv1.Attribute_TYPE_BOOL:
		if _, ok := v.(bool); !ok {
			return "not true or false"
		}
	case pluginv1.Attribute_TYPE_INT, pluginv1.Attribute_TYPE_BYTES, pluginv1.Attribute_TYPE_FLOAT:
		n, ok := v.(float64)
		if !ok || a.GetType() != pluginv1.Attribute_TYPE_FLOAT && n != math.Trunc(n) {
			return "not a number, or not a whole one"
		}
		return wrongNumber(a, n)
	case pluginv1.Attribute_TYPE_DURATION:
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return `not a duration such as "30s"`
		}
		return wrongNumber(a, d.Seconds())
	case pluginv1.Attribute_TYPE_STRING_LIST:
		list, ok := v.([]any)
		if !ok {
			return "not a list"
		}
		for _, item := range list {
			s, ok := item.(string)
			if !ok {
				return "an item that is not a string"
			}
			if why := wrongText(a, s); why != "" {
				return why
			}
		}
	case pluginv1.Attribute_TYPE_STRING_MAP:
		m, ok := v.(map[string]any)
		if !ok {
			return "not an object"
		}
		for _, item := range m {
			if _, ok := item.(string); !ok {
				return "a member that is not a string"
			}
		}
	}
	return ""
}

func wrongText(a *pluginv1.Attribute, s string) string {
	if len(a.GetOneOf()) > 0 && !slices.Contains(a.GetOneOf(), s) {
		return "not one of the values allowed"
	}
	if re, err := regexp.Compile(a.GetPattern()); err == nil && !re.MatchString(s) {
		return "does not match the pattern"
	}
	return ""
}

func wrongNumber(a *pluginv1.Attribute, n float64) string {
	if a.Min != nil && n < a.GetMin() || a.Max != nil && n > a.GetMax() {
		return "out of range"
	}
	return ""
}

// goodValue makes up a value that an attribute takes; ok is false when nothing
// that it tries does, because of a pattern.
func goodValue(a *pluginv1.Attribute) (v any, ok bool) {
	if a.GetDefaultJson() != "" && json.Unmarshal([]byte(a.GetDefaultJson()), &v) == nil && wrongValue(a, v) == "" {
		return v, true
	}
	n := 1.0
	switch {
	case a.Min != nil:
		n = math.Ceil(a.GetMin())
	case a.Max != nil:
		n = math.Min(n, math.Floor(a.GetMax()))
	}
	texts := []string{"x", "example", "a", "1", "https://example.com", "example.com", "user@example.com", "/tmp", "1.0.0", "ABC", ""}
	if len(a.GetOneOf()) > 0 {
		texts = a.GetOneOf()
	}
	var tries []any
	switch a.GetType() {
	case pluginv1.Attribute_TYPE_STRING:
		for _, t := range texts {
			tries = append(tries, t)
		}
	case pluginv1.Attribute_TYPE_STRING_LIST:
		for _, t := range texts {
			tries = append(tries, []any{t})
		}
	case pluginv1.Attribute_TYPE_BOOL:
		tries = []any{false}
	case pluginv1.Attribute_TYPE_INT, pluginv1.Attribute_TYPE_BYTES, pluginv1.Attribute_TYPE_FLOAT:
		tries = []any{n, a.GetMin(), a.GetMax()}
	case pluginv1.Attribute_TYPE_DURATION:
		tries = []any{seconds(n), seconds(a.GetMin()), seconds(a.GetMax())}
	case pluginv1.Attribute_TYPE_STRING_MAP:
		tries = []any{map[string]any{}}
	}
	for _, v := range tries {
		if wrongValue(a, v) == "" {
			return v, true
		}
	}
	return nil, false
}

func seconds(n float64) string { return time.Duration(n * float64(time.Second)).String() }

// bad is a wrong value for an attribute.
type bad struct {
	attribute string
	value     any
}

// wrongTypes gives a value of another type for each attribute of a block.
func wrongTypes(b *pluginv1.Block) []bad {
	var out []bad
	for _, a := range b.GetAttributes() {
		v := any(true)
		if a.GetType() == pluginv1.Attribute_TYPE_BOOL {
			v = []any{1}
		}
		out = append(out, bad{a.GetName(), v})
	}
	return out
}

// outOfRange gives a number below each min and above each max.
func outOfRange(b *pluginv1.Block) []bad {
	var out []bad
	add := func(a *pluginv1.Attribute, n float64) {
		v := any(n)
		if a.GetType() == pluginv1.Attribute_TYPE_DURATION {
			if math.Abs(n) > 1e9 { // longer than a duration can be, or nearly
				return
			}
			v = seconds(n)
		}
		out = append(out, bad{a.GetName(), v})
	}
	for _, a := range b.GetAttributes() {
		if a.Min != nil && a.GetMin() > -1e15 {
			add(a, a.GetMin()-1)
		}
		if a.Max != nil && a.GetMax() < 1e15 {
			add(a, a.GetMax()+1)
		}
	}
	return out
}

// notOneOf gives a text that is not allowed.
func notOneOf(b *pluginv1.Block) []bad {
	return wrongTexts(b, func(a *pluginv1.Attribute, s string) bool {
		return len(a.GetOneOf()) > 0 && !slices.Contains(a.GetOneOf(), s)
	})
}

// notMatching gives a text that does not match the pattern; none is tried for a
// pattern that matches all of them.
func notMatching(b *pluginv1.Block) []bad {
	return wrongTexts(b, func(a *pluginv1.Attribute, s string) bool {
		re, err := regexp.Compile(a.GetPattern())
		return a.GetPattern() != "" && err == nil && len(a.GetOneOf()) == 0 && !re.MatchString(s)
	})
}

func wrongTexts(b *pluginv1.Block, wrong func(*pluginv1.Attribute, string) bool) []bad {
	var out []bad
	for _, a := range b.GetAttributes() {
		for _, s := range []string{"securetag-no-such-value", "!", "", "\n", "0"} {
			if !wrong(a, s) {
				continue
			}
			switch a.GetType() {
			case pluginv1.Attribute_TYPE_STRING:
				out = append(out, bad{a.GetName(), s})
			case pluginv1.Attribute_TYPE_STRING_LIST:
				out = append(out, bad{a.GetName(), []any{s}})
			}
			break
		}
	}
	return out
}
