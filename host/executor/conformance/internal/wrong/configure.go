package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func settings() *pluginv1.Block {
	return &pluginv1.Block{Attributes: []*pluginv1.Attribute{
		{Name: "limit", Type: pluginv1.Attribute_TYPE_INT, DefaultJson: "10", Min: proto.Float64(1), Max: proto.Float64(100)},
		{Name: "pause", Type: pluginv1.Attribute_TYPE_DURATION, DefaultJson: `"5s"`, Min: proto.Float64(1), Max: proto.Float64(60)},
		{Name: "level", Type: pluginv1.Attribute_TYPE_STRING, DefaultJson: `"low"`, OneOf: []string{"low", "high"}},
		{Name: "match", Type: pluginv1.Attribute_TYPE_STRING, DefaultJson: `"x"`, Pattern: "^x"},
		{Name: "words", Type: pluginv1.Attribute_TYPE_STRING_LIST, Pattern: "^[a-z]+$"},
		{Name: "licence", Type: pluginv1.Attribute_TYPE_STRING, Required: true, Sensitive: true},
		{Name: "strict", Type: pluginv1.Attribute_TYPE_BOOL, DefaultJson: "true"},
	}}
}

// Configure checks like a good plugin but for what the mode forgets.
func (s *scanner) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	resp := &pluginv1.ConfigureResponse{}
	bad := func(name, summary string) {
		d := &pluginv1.Diagnostic{Severity: pluginv1.Diagnostic_SEVERITY_ERROR, Summary: summary}
		if name != "" && !s.is("configure.unknown-attribute/path") {
			d.AttributePath = []string{name}
		}
		resp.Diagnostics = append(resp.Diagnostics, d)
	}
	var given map[string]any
	if err := json.Unmarshal(req.GetConfigJson(), &given); err != nil {
		switch s.mode {
		case "configure.not-an-object/accepts":
			return resp, nil
		case "configure.not-an-object/crash":
			os.Exit(8)
		}
		bad("", "not one JSON object")
	}
	if s.is("configure.defaults") {
		bad("limit", "must be given")
	}
	attrs := settings().Attributes
	for name := range given {
		if slices.ContainsFunc(attrs, func(a *pluginv1.Attribute) bool { return a.Name == name }) {
			continue
		}
		switch s.mode {
		case "configure.unknown-attribute/accepts":
		case "configure.unknown-attribute/error":
			return nil, status.Error(codes.InvalidArgument, "no such setting: "+name)
		default:
			bad(name, "no such setting")
		}
	}
	for _, a := range attrs {
		if why := s.check(a, given); why != "" {
			bad(a.Name, why)
		}
	}
	if s.is("configure.validate-only/refuses") && req.GetValidateOnly() && len(resp.Diagnostics) == 0 {
		bad("", "validate_only is not supported")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch keep := !req.GetValidateOnly() || s.is("configure.validate-only/keeps"); {
	case keep && len(resp.Diagnostics) == 0:
		s.configured = true
	case keep && s.is("configure.twice/forgets"):
		s.configured = false
	}
	return resp, nil
}

func (s *scanner) check(a *pluginv1.Attribute, given map[string]any) string {
	v, there := given[a.Name]
	if !there {
		if a.Required && !s.is("configure.required") {
			return "is required"
		}
		return ""
	}
	ok := false
	n := 0.0
	var texts []string
	switch a.Type {
	case pluginv1.Attribute_TYPE_INT:
		n, ok = v.(float64)
	case pluginv1.Attribute_TYPE_DURATION:
		text, _ := v.(string)
		d, err := time.ParseDuration(text)
		n, ok = d.Seconds(), err == nil
	case pluginv1.Attribute_TYPE_STRING:
		var text string
		text, ok = v.(string)
		texts = []string{text}
	case pluginv1.Attribute_TYPE_STRING_LIST:
		var list []any
		list, ok = v.([]any)
		for _, item := range list {
			text, _ := item.(string)
			texts = append(texts, text)
		}
	case pluginv1.Attribute_TYPE_BOOL:
		_, ok = v.(bool)
	}
	if !ok {
		if s.is("configure.wrong-type") {
			return ""
		}
		return "has the wrong type"
	}
	return s.checkValue(a, n, texts)
}

func (s *scanner) checkValue(a *pluginv1.Attribute, n float64, texts []string) string {
	if (a.Min != nil && n < a.GetMin() || a.Max != nil && n > a.GetMax()) && !s.is("configure.range") {
		return "is out of range"
	}
	for _, text := range texts {
		switch {
		case len(a.OneOf) > 0 && !slices.Contains(a.OneOf, text) && !s.is("configure.one-of"):
			return "is not one of those allowed"
		case a.Name == "match" && !strings.HasPrefix(text, "x") && !s.is("configure.pattern"):
			return "does not match"
		case a.Name == "words" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz") != "" && !s.is("configure.pattern"):
			return "does not match"
		}
	}
	return ""
}
