package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/issue"
	"github.com/securego/gosec/v2/rules"

	"github.com/securetaghq/securetag/sdk"
)

// declared are all rules of gosec: those that read the syntax, and those that
// follow values. A finding has its severity from gosec; the rule's own is for
// one that has none.
func declared() []sdk.Rule {
	titles := map[string]string{}
	for id, r := range rules.Generate(false).Rules {
		titles[id] = r.Description
	}
	for id, a := range analyzers.Generate(false).Analyzers {
		titles[id] = a.Description
	}
	var out []sdk.Rule
	for _, id := range slices.Sorted(maps.Keys(titles)) {
		r := sdk.Rule{ID: id, Title: titles[id], Description: titles[id], Severity: sdk.Medium, Tags: []string{"go"}}
		if w := issue.GetCweByRule(id); w != nil {
			if n, err := strconv.Atoi(w.ID); err == nil {
				r.CWE = []int{n}
			}
			r.Description = strings.TrimSuffix(titles[id], ".") + ". " + w.Description
		}
		out = append(out, r)
	}
	return out
}

// severity: gosec knows three.
func severity(score int) sdk.Severity {
	switch issue.Score(score) {
	case issue.High:
		return sdk.High
	case issue.Medium:
		return sdk.Medium
	}
	return sdk.Low
}

func confidence(score int) sdk.Confidence {
	switch issue.Score(score) {
	case issue.High:
		return sdk.ConfidenceHigh
	case issue.Medium:
		return sdk.ConfidenceMedium
	}
	return sdk.ConfidenceLow
}
