package intake_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

const schema = `{
  "type": "object", "additionalProperties": false, "required": ["reason"],
  "properties": {
    "depth":  {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
    "ratio":  {"type": "number", "maximum": 0.5},
    "mode":   {"type": "string", "enum": ["fast", "deep"], "default": "fast"},
    "strict": {"type": "boolean"},
    "reason": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"},
    "only":   {"type": "array", "items": {"type": "string", "pattern": "^src/"}, "maxItems": 2}
  }
}`

// withOptions has a scan type with options and one without.
func withOptions(t testing.TB) *intake.Intake {
	t.Helper()
	types := []intake.ScanType{
		{Name: "deep", Input: host.InputURL, Plugins: []string{"probe", "crawl"}, Timeout: time.Minute, Attempts: 1, Options: json.RawMessage(schema)},
		{Name: "plain", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1},
	}
	in, err := intake.New(&store{}, nil, nil, types, func() {}, intake.Config{}, hclog.New(&hclog.LoggerOptions{Output: io.Discard}))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestCheckOptions(t *testing.T) {
	t.Parallel()
	in := withOptions(t)
	for given, want := range map[string]string{
		`{"reason":"ab"}`: `{"depth":3,"mode":"fast","reason":"ab"}`,
		`{"reason":"ab","depth":10,"ratio":0.5,"mode":"deep","strict":false,"only":["src/a"],"crawl":{"x":{"y":1}}}`: `{"crawl":{"x":{"y":1}},"depth":10,"mode":"deep","only":["src/a"],"ratio":0.5,"reason":"ab","strict":false}`,
	} {
		got, err := in.CheckOptions("deep", json.RawMessage(given))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", given, got, err, want)
		}
		if again, err := in.CheckOptions("deep", got); err != nil || string(again) != want {
			t.Errorf("checked again: got %s, %v", again, err)
		}
	}
	if got, err := in.CheckOptions("plain", nil); err != nil || got != nil {
		t.Errorf("a type without options: got %s, %v", got, err)
	}
	if _, err := in.CheckOptions("nope", nil); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("an unknown type: %v", err)
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	in := withOptions(t)
	for given, want := range map[string][]string{
		``:                                                     {`options/reason: The option "reason" is required: a string that matches ^[a-z]+$ of at least 2 characters.`},
		`{"reason":"A"}`:                                       {"options/reason: The option"},
		`{"reason":"ab","depth":11}`:                           {`options/depth: The option "depth" must be a whole number between 1 and 10.`},
		`{"reason":"ab","depth":1.5}`:                          {"options/depth: "},
		`{"reason":"ab","depth":"3"}`:                          {"options/depth: "},
		`{"reason":"ab","depth":null}`:                         {"options/depth: "},
		`{"reason":"ab","depth":{}}`:                           {"options/depth: "},
		`{"reason":"ab","ratio":1}`:                            {`options/ratio: The option "ratio" must be a number at most 0.5.`},
		`{"reason":"ab","mode":"Fast"}`:                        {`options/mode: The option "mode" must be one of "fast", "deep".`},
		`{"reason":"ab","strict":1}`:                           {`options/strict: The option "strict" must be true or false.`},
		`{"reason":"ab","only":["doc"]}`:                       {`options/only: The option "only" must be a list of strings that each match ^src/ of at most 2 strings.`},
		`{"reason":"ab","only":["src/","src/","src/"]}`:        {"options/only: "},
		`{"reason":"ab","probe":3}`:                            {`options/probe: The options of plugin "probe" must be a JSON object.`},
		`{"reason":"ab","a/b~c":3}`:                            {"options/a~1b~0c: Scan type \"deep\" has no option"},
		`{"reason":"ab","secrets":{}}`:                         {"options/secrets: "},
		`{"depth":0,"depht":1,"mode":2}`:                       {"options/depht: ", "options/depth: ", "options/mode: ", "options/reason: "},
		`{"` + strings.Repeat("x", 100) + `":1,"reason":"ab"}`: {"options/" + strings.Repeat("x", 64) + ": "},
	} {
		_, err := in.CheckOptions("deep", json.RawMessage(given))
		var refusal *intake.Refusal
		if !errors.As(err, &refusal) || !errors.Is(err, host.ErrInvalid) || len(refusal.Faults) != len(want) {
			t.Errorf("%s: got %v, want %q", given, err, want)
			continue
		}
		for i, f := range refusal.Faults {
			if text := f.Field + ": " + f.Detail; !strings.HasPrefix(text, want[i]) {
				t.Errorf("%s: got %q, want %q", given, text, want[i])
			}
		}
	}
}

// TestOptionsThatCannotBe: what the operator declared makes no sense.
func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	in := withOptions(t)
	for name, schema := range map[string]string{
		"no JSON": `{`, "no schema": `{"properties": 1}`, "default": `{"properties": {"a": {"type": "integer", "default": "x"}}}`,
		"too many": `{"properties": {` + strings.Join(slices.Collect(numbered(33)), ",") + `}}`,
	} {
		types := in.Types()
		types[1].Options = json.RawMessage(schema)
		if err := in.Update(types, 1000); err == nil || !strings.Contains(err.Error(), `scan type "plain"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := in.CheckOptions("deep", json.RawMessage(`{"reason":"ab"}`)); err != nil {
		t.Errorf("after refused updates: %v", err)
	}
}

// numbered gives n properties.
func numbered(n int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(`"a` + strings.Repeat("b", i) + `": {"type": "string"}`) {
				return
			}
		}
	}
}

func FuzzCheckOptions(f *testing.F) {
	in := withOptions(f)
	for _, s := range []string{`{"reason":"ab"}`, `{"reason":"ab","depth":1e1}`, `{"a/b~":1}`, `{"only":["src/"],"crawl":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := in.CheckOptions("deep", raw)
		if err != nil {
			var refusal *intake.Refusal
			if !errors.As(err, &refusal) || refusal.Detail == "" || len(refusal.Faults) > intake.MaxOptions {
				t.Errorf("CheckOptions(%q): %v is no refusal for people", raw, err)
			}
			return
		}
		again, err := in.CheckOptions("deep", out)
		if err != nil || string(again) != string(out) {
			t.Errorf("CheckOptions(%q) = %q, and of that %q, %v", raw, out, again, err)
		}
	})
}
