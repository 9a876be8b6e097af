package sdk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

type settings struct {
	MaxFileSize sdk.Bytes         `default:"10MiB" min:"1KiB" max:"1GiB" doc:"Larger files are left out."`
	Timeout     time.Duration     `json:"timeout" default:"30s" min:"1s" max:"1h"`
	Mode        string            `default:"fast" one_of:"fast,deep"`
	Token       string            `required:"true" sensitive:"true"`
	Rules       []string          `default:"a,b" one_of:"a,b,c"`
	Labels      map[string]string `json:"labels,omitempty"`
	Ratio       float64           `min:"0" max:"1"`
	Depth       int8
	BaseURL     bool   `default:"true"`
	Tag         string `pattern:"^v\\d+$" deprecated:"Use labels."`
	_           int    // not a setting
}

func (s *settings) Validate() error {
	if s.Token == "wrong" {
		return errors.New("the token is wrong")
	}
	return nil
}

func ptr(f float64) *float64 { return &f }

func TestSchema(t *testing.T) {
	t.Parallel()
	srv := newServer(t, scanner(func(context.Context, *settings, *sdk.Target, *sdk.Out) error { return nil }))
	d, err := srv.Describe(t.Context(), &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pluginv1.Block{Attributes: []*pluginv1.Attribute{
		{Name: "max_file_size", Type: pluginv1.Attribute_TYPE_BYTES, DefaultJson: "10485760", Min: ptr(1024), Max: ptr(1 << 30), Description: "Larger files are left out."},
		{Name: "timeout", Type: pluginv1.Attribute_TYPE_DURATION, DefaultJson: `"30s"`, Min: ptr(1), Max: ptr(3600)},
		{Name: "mode", Type: pluginv1.Attribute_TYPE_STRING, DefaultJson: `"fast"`, OneOf: []string{"fast", "deep"}},
		{Name: "token", Type: pluginv1.Attribute_TYPE_STRING, Required: true, Sensitive: true},
		{Name: "rules", Type: pluginv1.Attribute_TYPE_STRING_LIST, DefaultJson: `["a","b"]`, OneOf: []string{"a", "b", "c"}},
		{Name: "labels", Type: pluginv1.Attribute_TYPE_STRING_MAP},
		{Name: "ratio", Type: pluginv1.Attribute_TYPE_FLOAT, Min: ptr(0), Max: ptr(1)},
		{Name: "depth", Type: pluginv1.Attribute_TYPE_INT},
		{Name: "base_url", Type: pluginv1.Attribute_TYPE_BOOL, DefaultJson: "true"},
		{Name: "tag", Type: pluginv1.Attribute_TYPE_STRING, Pattern: `^v\d+$`, Deprecated: "Use labels."},
	}}
	if diff := cmp.Diff(want, d.ConfigSchema, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	type problems = map[string]string // path: part of the summary
	tests := map[string]struct {
		config string
		want   problems
	}{
		"least":          {`{"token": "t"}`, nil},
		"all":            {`{"token": "t", "max_file_size": 2048, "timeout": "2m", "mode": "deep", "rules": [], "labels": {"a": "b"}, "ratio": 1, "depth": -3, "base_url": false}`, nil},
		"size as text":   {`{"token": "t", "max_file_size": "2 MiB"}`, nil},
		"whole as float": {`{"token": "t", "depth": 1e1}`, nil},
		"null is absent": {`{"token": "t", "mode": null}`, nil},
		"empty":          {``, problems{"token": "required"}},
		"not an object":  {`[1]`, problems{"": "one JSON object"}},
		"not JSON":       {`{"token": hunter2}`, problems{"": "one JSON object"}},
		"everything at once": {
			`{"max_file_size": 1, "timeout": "2h", "mode": "hunter2", "token": 7, "rules": ["a", "x"], "labels": {"a": 1}, "ratio": "hunter2", "depth": 300, "base_url": "yes", "tokn": "hunter2"}`,
			problems{
				"max_file_size": "at least 1KiB", "timeout": "at most 1h0m0s", "mode": "one of fast, deep", "token": "must be a string, got a number",
				"rules": "one of a, b, c", "labels": "object of strings", "ratio": "must be a number, got a string",
				"depth": "too large for 8 bits", "base_url": "true or false", "tokn": "no setting",
			},
		},
		"pattern":    {`{"token": "t", "tag": "hunter2"}`, problems{"tag": `must match ^v\d+$`}},
		"fraction":   {`{"token": "t", "depth": 1.5}`, problems{"depth": "whole number"}},
		"the author": {`{"token": "wrong"}`, problems{"": "the token is wrong"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, scanner(func(context.Context, *settings, *sdk.Target, *sdk.Out) error { return nil }))
			resp, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: []byte(tt.config)})
			if err != nil {
				t.Fatal(err)
			}
			got := problems{}
			for _, d := range resp.Diagnostics {
				if strings.Contains(d.Summary, "deprecated") {
					continue
				}
				if d.Severity != pluginv1.Diagnostic_SEVERITY_ERROR {
					t.Errorf("severity of %v", d)
				}
				if strings.Contains(d.Summary+d.Detail, "hunter2") {
					t.Errorf("a value is shown: %v", d)
				}
				got[strings.Join(d.AttributePath, ".")] = d.Summary
			}
			for path, part := range tt.want {
				if !strings.Contains(got[path], part) {
					t.Errorf("%s: %q, want %q", path, got[path], part)
				}
				delete(got, path)
			}
			if len(got) > 0 {
				t.Errorf("unexpected: %v", got)
			}
		})
	}
}

// The author's code sees defaults, and a configuration with mistakes changes
// nothing; nor does one that is only checked.
func TestConfigReachesScan(t *testing.T) {
	t.Parallel()
	var got settings
	c := dial(t, newServer(t, scanner(func(_ context.Context, c *settings, _ *sdk.Target, _ *sdk.Out) error {
		got = *c
		return nil
	})))
	configure(t, c, `{"token": "t", "labels": {"a": "b"}}`)
	for _, req := range []*pluginv1.ConfigureRequest{
		{ConfigJson: []byte(`{"token": "other", "depth": 300}`)},
		{ConfigJson: []byte(`{"token": "other"}`), ValidateOnly: true},
	} {
		if _, err := c.Configure(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := c.Scan(t.Context(), request("a", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(stream); err != nil {
		t.Fatal(err)
	}
	want := settings{MaxFileSize: 10 * sdk.MiB, Timeout: 30 * time.Second, Mode: "fast", Token: "t",
		Rules: []string{"a", "b"}, Labels: map[string]string{"a": "b"}, BaseURL: true}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
		t.Error(diff)
	}
}

// What is deprecated works, and is remarked upon.
func TestDeprecated(t *testing.T) {
	t.Parallel()
	s := scanner(func(_ context.Context, c *settings, _ *sdk.Target, out *sdk.Out) error {
		out.Note(sdk.Note{Summary: c.Tag})
		return nil
	})
	s.Options = struct {
		Old int `deprecated:"Use new."`
	}{}
	c := dial(t, newServer(t, s))
	resp, err := c.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: []byte(`{"token": "t", "tag": "v1"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := []*pluginv1.Diagnostic{{Severity: pluginv1.Diagnostic_SEVERITY_WARNING, Summary: `"tag" is deprecated`, Detail: "Use labels.", AttributePath: []string{"tag"}}}
	if diff := cmp.Diff(want, resp.Diagnostics, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	req := request("a", t.TempDir())
	req.OptionsJson = []byte(`{"old": 1}`)
	stream, err := c.Scan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	r, err := collect(stream)
	if err != nil {
		t.Fatal(err)
	}
	if notes := r.notes(); len(notes) != 2 || notes[0].Summary != `"old" is deprecated` || notes[1].Summary != "v1" {
		t.Errorf("notes %v", notes)
	}
}

func TestAuthorsMistakes(t *testing.T) {
	t.Parallel()
	type config struct {
		A chan int
		B int    `default:"x"`
		C string `min:"1"`
		D bool   `one_of:"true"`
		E int    `json:"Big"`
		F string `required:"true" default:"x"`
		G int    `min:"5" default:"3"`
		H string `json:"b"`
		I string `pattern:"("`
		J int    `pattern:"x"`
		K string `pattern:"^a" default:"b"`
		L string `required:"true" deprecated:"x"`
	}
	s := sdk.Scanner[config]{Name: "Bad Name", Version: "one", MaxConcurrentScans: -1,
		Rules: []sdk.Rule{{ID: "a"}, {ID: "a"}, {}}, Consumes: []sdk.Input{7}}
	_, err := sdk.NewServer(s, hclog.NewNullLogger())
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"Name", "Version", "Consumes", "Scan is nil", "MaxConcurrentScans", `"a" is declared twice`, "must have 1 to 256",
		"config.A", "config.B", "config.C", "config.D", "config.E", "config.F", "config.G",
		"config.I", "config.J", "config.K", "config.L"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in:\n%v", part, err)
		}
	}
	if _, err := sdk.NewServer(scanner(func(context.Context, *int, *sdk.Target, *sdk.Out) error { return nil }), hclog.NewNullLogger()); err == nil {
		t.Error("settings that are no struct were taken")
	}
}

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sdk.Bytes{"0": 0, "512": 512, "64KiB": 64 << 10, "1.5 MB": 1_500_000, "2gib": 2 << 30} {
		if got, err := sdk.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1XB", "0.5", "9999999TiB", "1e3", "NaN"} {
		if got, err := sdk.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d", text, got)
		}
	}
}

func FuzzConfigure(f *testing.F) {
	f.Add(`{"token": "t", "depth": 1e400}`)
	f.Add(`{"token": "t", "max_file_size": "1e9MiB"}`)
	f.Add(`{"token": "t", "timeout": "9999999h"}`)
	f.Add("{\"a\xff\": 1}")
	f.Fuzz(func(t *testing.T, config string) {
		srv := newServer(t, scanner(func(context.Context, *settings, *sdk.Target, *sdk.Out) error { return nil }))
		resp, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: []byte(config)})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.Diagnostics {
			if d.Summary == "" || strings.ToValidUTF8(d.Summary+strings.Join(d.AttributePath, ""), "") != d.Summary+strings.Join(d.AttributePath, "") {
				t.Errorf("diagnostic %v", d)
			}
		}
	})
}
