package clean

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// The limits of one finding and one rule, in bytes and in number.
const (
	MaxRuleID   = 256
	maxTitle    = 256
	maxMessage  = 8 << 10
	maxSnippet  = 2 << 10
	maxPath     = 4 << 10
	maxURL      = 2 << 10
	maxTags     = 16
	maxTag      = 64
	maxCWEs     = 16
	maxCWE      = 99_999
	maxProps    = 32
	maxPropKey  = 64
	maxProp     = 1 << 10
	maxPropsAll = 16 << 10
)

// Rule is a declared rule, cleaned.
type Rule struct {
	ID         string
	Title      string
	Severity   host.Severity
	CWE        []int
	Tags       []string
	References []string
}

// NewRule cleans a declared rule. The id is an identity and must be right as
// it is: an empty, over-long or unclean one is an error.
func NewRule(r *pluginv1.Rule) (Rule, error) {
	id := r.GetId()
	if id == "" || Line(id, MaxRuleID) != id {
		return Rule{}, fmt.Errorf("rule id %q must be one clean line of 1 to %d bytes", Line(id, 80), MaxRuleID)
	}
	out := Rule{ID: id, Title: Line(r.GetTitle(), maxTitle), Severity: severity(r.GetSeverity())}
	if out.Title == "" {
		out.Title = id
	}
	for _, n := range r.GetCwe()[:min(len(r.GetCwe()), maxCWEs)] {
		if n >= 1 && n <= maxCWE {
			out.CWE = append(out.CWE, int(n))
		}
	}
	for _, t := range r.GetTags()[:min(len(r.GetTags()), maxTags)] {
		if t = Line(t, maxTag); t != "" {
			out.Tags = append(out.Tags, t)
		}
	}
	if u := link(r.GetHelpUri()); u != "" {
		out.References = []string{u}
	}
	return out, nil
}

// Finding cleans one finding of a declared rule and gives it its fingerprint.
// Everything that can be cut or dropped is; a place outside the target is an
// error, because a plugin that names one is broken or lies.
func Finding(plugin string, rule Rule, f *pluginv1.Finding) (host.Finding, error) {
	loc, err := location(f.GetLocation())
	if err != nil {
		return host.Finding{}, err
	}
	out := host.Finding{
		Plugin:     plugin,
		RuleID:     rule.ID,
		Title:      rule.Title,
		Message:    Text(f.GetMessage(), maxMessage),
		Severity:   severity(f.GetSeverity()),
		Confidence: confidence(f.GetConfidence()),
		Location:   loc,
		Snippet:    Text(f.GetSnippet(), maxSnippet),
		CWE:        slices.Clone(rule.CWE),
		Tags:       slices.Clone(rule.Tags),
		References: slices.Clone(rule.References),
		Properties: properties(f.GetProperties()),
	}
	if out.Message == "" {
		out.Message = rule.Title
	}
	if out.Severity == host.SeverityUnknown {
		out.Severity = rule.Severity
	}
	out.Fingerprint = Fingerprint(plugin, rule.ID, loc, f.GetIdentity(), f.GetSnippet())
	out.Content = Content(plugin, rule.ID, f.GetIdentity(), f.GetSnippet())
	return out, nil
}

func severity(s pluginv1.Severity) host.Severity {
	switch s {
	case pluginv1.Severity_SEVERITY_CRITICAL:
		return host.SeverityCritical
	case pluginv1.Severity_SEVERITY_HIGH:
		return host.SeverityHigh
	case pluginv1.Severity_SEVERITY_MEDIUM:
		return host.SeverityMedium
	case pluginv1.Severity_SEVERITY_LOW:
		return host.SeverityLow
	case pluginv1.Severity_SEVERITY_INFO:
		return host.SeverityInfo
	default:
		return host.SeverityUnknown
	}
}

func confidence(c pluginv1.Finding_Confidence) host.Confidence {
	switch c {
	case pluginv1.Finding_CONFIDENCE_HIGH:
		return host.ConfidenceHigh
	case pluginv1.Finding_CONFIDENCE_MEDIUM:
		return host.ConfidenceMedium
	case pluginv1.Finding_CONFIDENCE_LOW:
		return host.ConfidenceLow
	default:
		return host.ConfidenceUnknown
	}
}

// properties keeps the first keys, in order, that fit the limits.
func properties(in map[string]string) json.RawMessage {
	out, size := map[string]string{}, 0
	for _, k := range slices.Sorted(maps.Keys(in)) {
		key, v := Line(k, maxPropKey), Text(in[k], maxProp)
		if size += len(key) + len(v); size > maxPropsAll || len(out) == maxProps {
			break
		}
		if key != "" {
			out[key] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil // cannot be: a map of clean strings
	}
	return b
}
