package sdk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// What is read of a report, and no more: a library with the whole of SARIF
// would be in the module of every plugin.
type (
	sarifReport struct {
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver     sarifComponent   `json:"driver"`
			Extensions []sarifComponent `json:"extensions"`
		} `json:"tool"`
		Results   []sarifResult `json:"results"`
		Artifacts []struct {
			Location sarifURI `json:"location"`
		} `json:"artifacts"`
		Bases       map[string]sarifURI `json:"originalUriBaseIds"`
		Invocations []sarifInvocation   `json:"invocations"`
	}
	sarifInvocation struct {
		Dir        sarifURI          `json:"workingDirectory"`
		Successful *bool             `json:"executionSuccessful"`
		Executing  []sarifDiagnostic `json:"toolExecutionNotifications"`
		Configured []sarifDiagnostic `json:"toolConfigurationNotifications"`
		NotStarted string            `json:"processStartFailureMessage"`
		Signal     string            `json:"exitSignalName"`
		Exit       string            `json:"exitCodeDescription"`
	}
	sarifComponent struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`

		byID map[string]int // made when it is first needed
	}
	sarifRule struct {
		ID       string               `json:"id"`
		Name     string               `json:"name"`
		Short    sarifText            `json:"shortDescription"`
		Full     sarifText            `json:"fullDescription"`
		Help     sarifText            `json:"help"`
		HelpURI  string               `json:"helpUri"`
		Messages map[string]sarifText `json:"messageStrings"`
		Default  struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
		Properties struct {
			Tags     []string        `json:"tags"`
			Severity json.RawMessage `json:"security-severity"`
		} `json:"properties"`
	}
	sarifResult struct {
		RuleID    string `json:"ruleId"`
		RuleIndex *int   `json:"ruleIndex"`
		Rule      struct {
			ID    string `json:"id"`
			Index *int   `json:"index"`
			Tool  struct {
				Index *int `json:"index"`
			} `json:"toolComponent"`
		} `json:"rule"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Baseline     string            `json:"baselineState"`
		Message      sarifMessage      `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Prints       map[string]string `json:"fingerprints"`
		Partial      map[string]string `json:"partialFingerprints"`
		Suppressions []struct {
			Kind string `json:"kind"`
		} `json:"suppressions"`
	}
	sarifMessage struct {
		Text      string   `json:"text"`
		ID        string   `json:"id"`
		Arguments []string `json:"arguments"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifDiagnostic struct {
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact sarifURI    `json:"artifactLocation"`
			Region   sarifRegion `json:"region"`
		} `json:"physicalLocation"`
	}
	sarifRegion struct {
		StartLine   int       `json:"startLine"`
		StartColumn int       `json:"startColumn"`
		EndLine     int       `json:"endLine"`
		EndColumn   int       `json:"endColumn"`
		Snippet     sarifText `json:"snippet"`
	}
	sarifURI struct {
		URI   string `json:"uri"`
		Base  string `json:"uriBaseId"`
		Index *int   `json:"index"`
	}
)

func parseSARIF(report []byte) (*sarifReport, error) {
	report = bytes.TrimSpace(bytes.TrimPrefix(report, []byte("\xef\xbb\xbf")))
	if len(report) == 0 {
		return nil, fmt.Errorf("it is empty")
	}
	var r sarifReport
	if err := json.Unmarshal(report, &r); err != nil {
		return nil, fmt.Errorf("it is not SARIF: %w", err)
	}
	if !strings.HasPrefix(r.Version, "2.") || r.Runs == nil {
		return nil, fmt.Errorf("it is not SARIF 2.1.0: it has the version %.20q and %d runs", r.Version, len(r.Runs))
	}
	return &r, nil
}

// SARIFRules makes rules of those that a report describes, sorted by id: for a
// report of the tool that is kept beside the plugin's source and embedded. The
// severity is that of the rule's findings when they give none.
func SARIFRules(report []byte) ([]Rule, error) {
	r, err := parseSARIF(report)
	if err != nil {
		return nil, fmt.Errorf("read rules from a report: %w", err)
	}
	rules := make(map[string]Rule)
	for _, run := range r.Runs {
		for _, c := range append([]sarifComponent{run.Tool.Driver}, run.Tool.Extensions...) {
			for _, d := range c.Rules {
				if _, twice := rules[d.ID]; d.ID == "" || twice {
					continue
				}
				rule := Rule{ID: d.ID, Title: d.title(), Description: d.Full.Text, Recommendation: d.Help.Text,
					Severity: SARIFTool{}.severity(d.Default.Level, &d), CWE: d.cwe()}
				if strings.HasPrefix(d.HelpURI, "https://") {
					rule.HelpURL = d.HelpURI
				}
				rules[d.ID] = rule
			}
		}
	}
	return slices.SortedFunc(maps.Values(rules), func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }), nil
}

func (d *sarifRule) title() string {
	for _, s := range []string{d.Short.Text, d.Name, d.Full.Text, d.ID} {
		if s = oneLine(s, maxTitle); s != "" {
			return s
		}
	}
	return ""
}

// cwe reads tags as GitHub has them, "external/cwe/cwe-079", and plain "CWE-79".
func (d *sarifRule) cwe() []int {
	var out []int
	for _, tag := range d.Properties.Tags {
		tag = strings.ToLower(path.Base(tag))
		digits, ok := strings.CutPrefix(tag, "cwe-")
		if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
			digits = digits[:i] // "CWE-79: Cross-site scripting"
		}
		if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Read reports what a report says of the target: for reports that Scan did not
// get by running Command. A report of a tool that did not look is an error, and
// one of a tool that says that something went wrong is partial: that nothing is
// in it must not be taken for a clean target.
func (s SARIFTool) Read(report []byte, t *Target, out *Out) error {
	r, err := parseSARIF(report)
	if err != nil {
		return err
	}
	places := newPlaces(t, s.Tree)
	if err := r.looked(places); err != nil {
		return err
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		if s.Elsewhere {
			places.move(run)
		}
		for _, inv := range run.Invocations {
			inv.tell(run, places, s.PartialOnWarning, out)
		}
		for j := range run.Results {
			s.result(run, &run.Results[j], places, out)
		}
	}
	if places.outside > 0 {
		out.Note(Note{Level: Warning, Summary: fmt.Sprintf("%d results are at places outside the target; they are shown without one", places.outside)})
	}
	return nil
}

// result reports one result, unless it says that there is no problem.
func (s SARIFTool) result(run *sarifRun, r *sarifResult, places *places, out *Out) {
	if r.Kind == "pass" || r.Kind == "notApplicable" || r.Baseline == "absent" {
		return
	}
	id, rule := run.rule(r)
	declared := id
	if parent, _, ok := strings.Cut(id, "/"); !out.rules[declared] && ok {
		declared = parent // "CA1000/1" is a case of CA1000
	}
	f := Finding{Message: r.text(rule)}
	if !out.rules[declared] {
		declared = s.Other
		f.Identity = []string{id}
		f.Properties = map[string]string{"tool_rule": id}
		if rule != nil {
			f.Properties["tool_rule_title"] = rule.title()
		}
	}
	if s.Elsewhere {
		name := oneLine(run.Tool.Driver.Name, maxTitle)
		f.Identity = append([]string{name}, f.Identity...)
		if f.Properties == nil {
			f.Properties = make(map[string]string)
		}
		f.Properties["tool"] = name
	}
	level := r.Level
	if level == "" && r.Kind != "" && r.Kind != "fail" {
		level = "none"
	}
	_, mapped := s.Severity[levelOf(level, rule)]
	if v, ok := s.Severity[id]; ok {
		f.Severity = v
	} else if level != "" || declared == s.Other || rule != nil && mapped {
		f.Severity = s.severity(level, rule)
	}
	if len(r.Suppressions) > 0 { // in the source, which is the target's: shown all the same
		if f.Properties == nil {
			f.Properties = make(map[string]string)
		}
		f.Properties["suppressed"] = r.Suppressions[0].Kind
	}
	var snippet string
	if len(r.Locations) > 0 {
		f.At, snippet = places.at(run, &r.Locations[0])
	}
	if !s.HideSnippets {
		f.Snippet = snippet
	}
	if hash := r.Partial[lineHash]; s.Elsewhere && hash != "" {
		r.Partial = map[string]string{lineHash: hash} // others may change with the column, or with what made them
	}
	f.Identity = r.identity(f.Identity, f.Snippet, f.Message)
	out.Finding(declared, f)
}

// lineHash is the fingerprint by which GitHub knows a result again.
const lineHash = "primaryLocationLineHash"

// identity is what the tool says stays the same when lines move; without that,
// for a rule of its own, what would stand in for it.
func (r *sarifResult) identity(rule []string, snippet, message string) []string {
	prints := r.Partial
	if len(prints) == 0 {
		prints = r.Prints
	}
	out := rule
	for _, k := range slices.Sorted(maps.Keys(prints)) {
		out = append(out, prints[k])
	}
	if len(rule) > 0 && len(prints) == 0 {
		if snippet == "" {
			snippet = message
		}
		out = append(out, strings.Join(strings.Fields(cut(snippet, maxSnippet)), " "))
	}
	return out
}

// rule finds the id of a result's rule, and what the report tells of it; nil
// when it tells nothing.
func (run *sarifRun) rule(r *sarifResult) (id string, rule *sarifRule) {
	component := &run.Tool.Driver
	if i := r.Rule.Tool.Index; i != nil && *i >= 0 && *i < len(run.Tool.Extensions) {
		component = &run.Tool.Extensions[*i]
	}
	id = r.RuleID
	if id == "" {
		id = r.Rule.ID
	}
	index := r.RuleIndex
	if index == nil {
		index = r.Rule.Index
	}
	if index != nil && *index >= 0 && *index < len(component.Rules) {
		rule = &component.Rules[*index]
	} else if id != "" {
		parent, _, _ := strings.Cut(id, "/")
		for _, name := range []string{id, parent} {
			if i, ok := component.find(name); ok && rule == nil {
				rule = &component.Rules[i]
			}
		}
	}
	if id == "" && rule != nil {
		id = rule.ID
	}
	return oneLine(id, maxRuleID), rule
}

// find gives the first rule with an id. A report may have as many results as
// rules, so looking at each would take as long as the report wants.
func (c *sarifComponent) find(id string) (int, bool) {
	if c.byID == nil {
		c.byID = make(map[string]int, len(c.Rules))
		for i, rule := range c.Rules {
			if _, twice := c.byID[rule.ID]; !twice {
				c.byID[rule.ID] = i
			}
		}
	}
	i, ok := c.byID[id]
	return i, ok
}

func (r *sarifResult) text(rule *sarifRule) string {
	text := r.Message.Text
	if text == "" && rule != nil {
		text = rule.Messages[r.Message.ID].Text
	}
	if text = r.Message.fill(text); text == "" && rule != nil {
		text = rule.title()
	}
	return text
}

// fill puts the arguments in the places of {0}, {1}.
func (m sarifMessage) fill(text string) string {
	if len(m.Arguments) == 0 || len(text) > maxMessage {
		return text
	}
	var pairs []string
	for i, a := range m.Arguments[:min(len(m.Arguments), 32)] {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", cut(a, maxSnippet))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// levelOf is a level; of "" it is the rule's, and else "warning", as the standard
// says.
func levelOf(level string, rule *sarifRule) string {
	if level == "" && rule != nil {
		level = rule.Default.Level
	}
	return cmp.Or(level, "warning")
}

// severity of a level, or of "".
func (s SARIFTool) severity(level string, rule *sarifRule) Severity {
	level = levelOf(level, rule)
	if v, ok := s.Severity[level]; ok {
		return v
	}
	if rule != nil && level != "none" {
		// As GitHub has it: a CVSS score, as text or number.
		score, err := strconv.ParseFloat(strings.Trim(string(rule.Properties.Severity), `"`), 64)
		switch {
		case err != nil || score <= 0 || score > 10:
		case score >= 9:
			return Critical
		case score >= 7:
			return High
		case score >= 4:
			return Medium
		default:
			return Low
		}
	}
	switch level {
	case "error":
		return High
	case "note":
		return Low
	case "none":
		return Info
	}
	return Medium
}
