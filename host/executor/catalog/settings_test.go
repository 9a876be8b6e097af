package catalog_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// schema has a setting of every type, named after it.
func schema() *pluginv1.Block {
	b := &pluginv1.Block{}
	for n, name := range pluginv1.Attribute_Type_name {
		b.Attributes = append(b.Attributes, &pluginv1.Attribute{
			Name: strings.ToLower(strings.TrimPrefix(name, "TYPE_")), Type: pluginv1.Attribute_Type(n),
		})
	}
	b.Attributes = append(b.Attributes,
		&pluginv1.Attribute{Name: "token", Type: pluginv1.Attribute_TYPE_STRING, Sensitive: true, DefaultJson: `"s3cret"`, Pattern: "^[a-z]+$"},
		&pluginv1.Attribute{Name: "level", Type: pluginv1.Attribute_TYPE_STRING, OneOf: []string{"low", "high"}},
		&pluginv1.Attribute{Name: "few", Type: pluginv1.Attribute_TYPE_INT, Min: proto.Float64(1), Max: proto.Float64(3)},
		&pluginv1.Attribute{Name: "soon", Type: pluginv1.Attribute_TYPE_DURATION, Max: proto.Float64(90)},
		&pluginv1.Attribute{Name: "small", Type: pluginv1.Attribute_TYPE_BYTES, Max: proto.Float64(1024)},
		&pluginv1.Attribute{Name: "later", Type: 77},
	)
	return b
}

func settings(t *testing.T, b *pluginv1.Block) catalog.Settings {
	t.Helper()
	s, err := catalog.NewSettings(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := settings(t, schema())
	for raw, want := range map[string][]string{
		``: nil, `{}`: nil, `{"int":null}`: nil,
		`{"string":"x","int":3,"float":1.5,"bool":true,"duration":"1m","bytes":"10MiB","string_list":["a"],"string_map":{"a":"b"},"unspecified":[1],"later":{}}`: nil,
		`[1]`:                    {"the settings are not one JSON object"},
		`{"string":1}`:           {"string must be a string, got a number"},
		`{"int":"s3cret"}`:       {"int must be a number, got a string"},
		`{"int":1.5}`:            {"int must be a whole number"},
		`{"float":{}}`:           {"float must be a number, got an object"},
		`{"bool":"yes"}`:         {"bool must be true or false, got a string"},
		`{"duration":"s3cret"}`:  {`duration must be a duration such as "30s"`},
		`{"duration":true}`:      {`duration must be a duration such as "30s", got a bool`},
		`{"bytes":"s3cret"}`:     {`bytes must be a size such as "10MiB"`},
		`{"string_list":"a"}`:    {"string_list must be a list of strings, got a string"},
		`{"string_map":[]}`:      {"string_map must be an object of strings, got a list"},
		`{"level":"s3cret"}`:     {"level must be one of low, high"},
		`{"token":"S3CRET"}`:     {"token must match ^[a-z]+$"},
		`{"few":0,"soon":"2m"}`:  {"few must be at least 1", "soon must be at most 1m30s"},
		`{"few":4,"small":"1M"}`: {"few must be at most 3", `small must be a size such as "10MiB"`},
		`{"small":"2KiB"}`:       {"small must be at most 1024"},
	} {
		var got []string
		for _, m := range s.Check(json.RawMessage(raw)) {
			got = append(got, m.String())
		}
		if len(want) != len(got) || strings.Contains(strings.Join(got, " "), "s3cret") {
			t.Errorf("%s: got %q, want %q", raw, got, want)
			continue
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				t.Errorf("%s: got %q, want %q", raw, got, w)
			}
		}
	}
}

func TestCheckNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	s := settings(t, &pluginv1.Block{Attributes: []*pluginv1.Attribute{{Name: "url", Type: pluginv1.Attribute_TYPE_STRING, Required: true, Description: "Where to ask."}}})
	want := []catalog.Mistake{{"uri", "is no setting of this plugin. It takes url."}, {"url", "is required. Where to ask."}}
	if diff := cmp.Diff(want, s.Check(json.RawMessage(`{"uri":1}`))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := settings(t, nil).Check(json.RawMessage(`{"x":1}`)); len(got) != 1 || !strings.Contains(got[0].Text, "It takes none.") {
		t.Errorf("got %v", got)
	}
}

// TestSensitiveIsNotWrittenOut: only what the plugin calls sensitive, and what
// it does not know is Check's to refuse.
func TestSensitiveIsNotWrittenOut(t *testing.T) {
	t.Parallel()
	s := settings(t, schema())
	if got := s.WrittenOut(map[string]bool{"string": true, "level": true, "nothing": true, "token": false}); got != nil {
		t.Errorf("got %v", got)
	}
	if got := s.WrittenOut(map[string]bool{"token": true}); len(got) != 1 || got[0].Setting != "token" || !strings.Contains(got[0].Text, `env("NAME")`) {
		t.Errorf("got %v", got)
	}
}

func TestSensitiveDefaultsAreNotShown(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(settings(t, schema()))
	if err != nil || strings.Contains(string(text), "s3cret") {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	one := func(a *pluginv1.Attribute) *pluginv1.Block {
		return &pluginv1.Block{Attributes: []*pluginv1.Attribute{a}}
	}
	many := &pluginv1.Block{}
	for range 513 {
		many.Attributes = append(many.Attributes, &pluginv1.Attribute{Name: "a"})
	}
	for want, b := range map[string]*pluginv1.Block{
		"513 settings":          many,
		"does not match":        one(&pluginv1.Attribute{Name: "A b\x1b"}),
		"no JSON":               one(&pluginv1.Attribute{Name: "a", DefaultJson: "{"}),
		"pattern over":          one(&pluginv1.Attribute{Name: "a", Pattern: strings.Repeat("a", 1025)}),
		"no regular expression": one(&pluginv1.Attribute{Name: "a", Pattern: "("}),
		"over its max":          one(&pluginv1.Attribute{Name: "a", Min: proto.Float64(2), Max: proto.Float64(1)}),
		"no number":             one(&pluginv1.Attribute{Name: "a", Min: proto.Float64(math.NaN())}),
		"no short line":         one(&pluginv1.Attribute{Name: "a", OneOf: []string{"a\x1b[31m"}}),
		`setting "a" twice`:     {Attributes: []*pluginv1.Attribute{{Name: "a"}, {Name: "a"}}},
	} {
		if _, err := catalog.NewSettings(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// FuzzSettings: whatever a plugin declares and an operator writes, the answer
// comes, and is one clean line each.
func FuzzSettings(f *testing.F) {
	raw, err := proto.Marshal(schema())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, `{"int":1.5,"level":"x","few":9,"none":{}}`)
	f.Add([]byte{}, `[`)
	f.Fuzz(func(t *testing.T, raw []byte, config string) {
		b := &pluginv1.Block{}
		if proto.Unmarshal(raw, b) != nil {
			return
		}
		s, err := catalog.NewSettings(b)
		if err != nil {
			return
		}
		for _, m := range s.Check(json.RawMessage(config)) {
			if strings.ContainsAny(m.String(), "\n\r\x00\x1b\u202e") {
				t.Errorf("not one clean line: %q", m)
			}
		}
	})
}
