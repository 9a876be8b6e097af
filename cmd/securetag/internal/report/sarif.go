package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// FingerprintKey names our fingerprint in SARIF's partialFingerprints.
const FingerprintKey = "securetag/v1"

// srcRoot is what paths are relative to, as GitHub and SARIF call it.
const srcRoot = "%SRCROOT%"

// SARIF writes a SARIF 2.1.0 log with a run for each plugin. A job that failed,
// was canceled or did not see the whole target has executionSuccessful false
// and a notification that says why.
func SARIF(w io.Writer, scan client.Scan, findings []client.Finding, version string) error {
	byPlugin := map[string][]client.Finding{}
	for _, f := range sorted(findings) {
		byPlugin[f.Plugin] = append(byPlugin[f.Plugin], f)
	}
	log := sarif.NewReport()
	log.Schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	jobs := slices.Clone(scan.Jobs)
	for plugin := range byPlugin { // findings of no listed job: not to be lost
		if !slices.ContainsFunc(jobs, func(j client.Job) bool { return j.Plugin == plugin }) {
			jobs = append(jobs, client.Job{Plugin: plugin, State: scan.State})
		}
	}
	slices.SortStableFunc(jobs, func(a, b client.Job) int { return cmp.Compare(a.Plugin, b.Plugin) })
	for _, j := range jobs {
		log.AddRun(sarifRun(scan, j, byPlugin[j.Plugin], version))
	}
	doc, err := lean(log)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return Document(w, doc)
}

func sarifRun(scan client.Scan, j client.Job, findings []client.Finding, version string) *sarif.Run {
	driver := sarif.NewToolComponent().WithName("securetag/" + j.Plugin).WithFullName("SecureTag " + j.Plugin).WithVersion(version)
	index := map[string]int{}
	for _, f := range findings {
		i, known := index[f.RuleID]
		if !known {
			// Findings come worst first, so a rule is as bad as its worst.
			i = len(driver.Rules)
			index[f.RuleID] = i
			driver.AddRule(sarifRule(f))
		}
		for _, tag := range ruleTags(f) {
			if p := driver.Rules[i].Properties; !slices.Contains(p.Tags, tag) && len(p.Tags) < 20 {
				p.AddTag(tag)
			}
		}
	}
	run := sarif.NewRun().WithTool(sarif.NewTool().WithDriver(driver))
	// The text before the last "/" is what GitHub tells uploads apart by.
	run.WithAutomationDetails(sarif.NewRunAutomationDetails().WithID("securetag/" + j.Plugin + "/" + scan.ID))
	run.AddInvocation(sarifInvocation(j))
	for _, f := range findings {
		run.AddResult(sarifResult(f, index[f.RuleID]))
	}
	return run
}

func sarifRule(f client.Finding) *sarif.ReportingDescriptor {
	props := sarif.NewPropertyBag().AddTag("security")
	if s := securitySeverity(f.Severity); s != "" {
		props.Add("security-severity", s)
	}
	rule := sarif.NewReportingDescriptor().WithID(f.RuleID).WithProperties(props)
	title := cmp.Or(Plain(f.Title), f.RuleID)
	rule.WithShortDescription(sarif.NewMultiformatMessageString().WithText(title))
	rule.WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(sarifLevel(f.Severity)))
	for _, r := range f.References {
		if u, err := url.Parse(r); err == nil && u.Scheme == "https" && u.Host != "" {
			rule.WithHelpURI(u.String())
			break
		}
	}
	return rule
}

func ruleTags(f client.Finding) []string {
	tags := []string{}
	for _, c := range f.CWE {
		if c > 0 {
			tags = append(tags, fmt.Sprintf("external/cwe/cwe-%03d", c))
		}
	}
	for _, t := range f.Tags {
		if t = Plain(t); t != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

// securitySeverity is the CVSS-like number that GitHub and DefectDojo sort by.
// Info and unknown have none: 0.0 would read as "no problem".
func securitySeverity(severity string) string {
	switch severityName(severity) {
	case host.SeverityCritical:
		return "9.5"
	case host.SeverityHigh:
		return "8.0"
	case host.SeverityMedium:
		return "5.5"
	case host.SeverityLow:
		return "2.5"
	default:
		return ""
	}
}

// sarifLevel takes unknown for a warning: nobody said that it is harmless.
func sarifLevel(severity string) string {
	switch severityName(severity) {
	case host.SeverityCritical, host.SeverityHigh:
		return "error"
	case host.SeverityMedium, host.SeverityUnknown:
		return "warning"
	default:
		return "note"
	}
}

func sarifResult(f client.Finding, rule int) *sarif.Result {
	text := cmp.Or(strings.TrimSpace(f.Message), Plain(f.Title), f.RuleID, "no message")
	r := sarif.NewResult().WithRuleID(f.RuleID).WithRuleIndex(rule).WithLevel(sarifLevel(f.Severity)).
		WithMessage(sarif.NewMessage().WithText(text))
	if l := sarifLocation(f.Location, f.Snippet); l != nil {
		r.AddLocation(l)
	}
	if f.Fingerprint != "" {
		r.WithPartialFingerprints(map[string]string{FingerprintKey: f.Fingerprint})
	}
	props := sarif.NewPropertyBag().Add("severity", string(severityName(f.Severity)))
	if f.Confidence != "" {
		props.Add("confidence", f.Confidence)
	}
	return r.WithProperties(props)
}

func sarifLocation(l client.Location, snippet string) *sarif.Location {
	at := sarif.NewArtifactLocation()
	switch {
	case l.Path != "":
		// url.URL escapes what a URI cannot hold, and puts "./" before a first
		// element that has a colon in it.
		at.WithURI((&url.URL{Path: l.Path}).String()).WithURIBaseID(srcRoot)
	case l.URL != "":
		u, err := url.Parse(l.URL)
		if err != nil {
			return nil
		}
		at.WithURI(u.String())
	default:
		return nil
	}
	p := sarif.NewPhysicalLocation().WithArtifactLocation(at)
	if r := sarifRegion(l, snippet); r != nil {
		p.WithRegion(r)
	}
	return sarif.NewLocation().WithPhysicalLocation(p)
}

// sarifRegion gives only what is sound: consumers refuse a whole log over a
// column 0 or an end before its start.
func sarifRegion(l client.Location, snippet string) *sarif.Region {
	if l.StartLine < 1 {
		return nil
	}
	r := sarif.NewRegion().WithStartLine(l.StartLine)
	endLine := l.StartLine
	if l.EndLine > l.StartLine {
		endLine = l.EndLine
		r.WithEndLine(endLine)
	}
	if l.StartColumn >= 1 {
		r.WithStartColumn(l.StartColumn)
		if l.EndColumn > l.StartColumn || endLine > l.StartLine && l.EndColumn >= 1 {
			r.WithEndColumn(l.EndColumn)
		}
	}
	if snippet != "" {
		r.WithSnippet(sarif.NewArtifactContent().WithText(snippet))
	}
	return r
}

func sarifInvocation(j client.Job) *sarif.Invocation {
	i := sarif.NewInvocation().WithExecutionSuccessful(j.State == client.StateSucceeded)
	if j.StartedAt != nil {
		i.WithStartTimeUtc(j.StartedAt.UTC().Format(time.RFC3339Nano))
	}
	if j.FinishedAt != nil {
		i.WithEndTimeUtc(j.FinishedAt.UTC().Format(time.RFC3339Nano))
	}
	if j.State == client.StateSucceeded {
		return i
	}
	text := fmt.Sprintf("%s %s: %s", Plain(j.Plugin), stateWords(j.State), jobReason(j))
	n := sarif.NewNotification().WithLevel("error").WithMessage(sarif.NewMessage().WithText(text))
	if j.State == client.StatePartial {
		n.WithLevel("warning")
	}
	if j.Error != nil && j.Error.Code != "" {
		n.WithDescriptor(sarif.NewReportingDescriptorReference().WithID(j.Error.Code))
	}
	return i.AddToolExecutionNotification(n)
}

// lean takes out what go-sarif writes although it says nothing: empty arrays
// and the default -1 of numbers, about half of a log.
func lean(log *sarif.Report) (any, error) {
	raw, err := json.Marshal(log)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	prune(doc)
	return doc, nil
}

func prune(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			prune(e)
		}
	case map[string]any:
		for key, e := range v {
			switch e := e.(type) {
			case []any:
				if len(e) == 0 && key != "results" && key != "runs" {
					delete(v, key)
				}
			case map[string]any:
				if len(e) == 0 {
					delete(v, key)
				}
			case float64:
				if e == -1 {
					delete(v, key)
				}
			}
			prune(e)
		}
	}
}
