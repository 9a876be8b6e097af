package export

import (
	"bytes"
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
	"github.com/securetaghq/securetag/internal/safetext"
)

// FingerprintKey names our fingerprint in SARIF's partialFingerprints.
const FingerprintKey = "securetag/v1"

// gitHubKey is the only one that GitHub compares; it makes it itself where it is
// missing, if it has the file.
const gitHubKey = "primaryLocationLineHash"

// srcRoot is what paths are relative to, as GitHub and SARIF call it.
const srcRoot = "%SRCROOT%"

// writeSARIF writes a SARIF 2.1.0 log with a run for each plugin. A job that
// failed, was canceled or did not see the whole target has executionSuccessful
// false and a notification that says why. In each run the results come before
// the tool: its rules are known only then, and JSON knows no order.
func writeSARIF(w io.Writer, r Report) error {
	out := &pieces{w: w}
	out.text(`{"$schema":"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json","version":"2.1.0","runs":[`)
	jobs := slices.Clone(r.Scan.Jobs)
	slices.SortStableFunc(jobs, func(a, b client.Job) int { return cmp.Compare(a.Plugin, b.Plugin) })
	for i, j := range jobs {
		if i > 0 {
			out.text(",")
		}
		if err := sarifRun(out, r, j); err != nil {
			return err
		}
	}
	out.text("]}\n")
	return out.err
}

func sarifRun(out *pieces, r Report, j client.Job) error {
	driver := sarif.NewToolComponent().WithName("securetag/" + j.Plugin).WithFullName("SecureTag " + j.Plugin).WithVersion(r.Version)
	rules := map[string]int{}
	// As the standard has it, either all results of a run have a baseline state or
	// none has.
	compared := r.Scan.Baseline != nil && r.Scan.Baseline.Untracked == 0
	out.text(`{"results":[`)
	for f, err := range r.Findings(j.Plugin) {
		if err != nil {
			return err
		}
		i, known := rules[f.RuleID]
		if !known {
			// Findings come worst first, so a rule is as bad as its worst.
			i = len(driver.Rules)
			rules[f.RuleID] = i
			driver.AddRule(sarifRule(f))
		}
		for _, tag := range ruleTags(f) {
			if p := driver.Rules[i].Properties; !slices.Contains(p.Tags, tag) && len(p.Tags) < 20 {
				p.AddTag(tag)
			}
		}
		out.next()
		out.object(judged{sarifResult(f, i, compared), suppressions(f)})
	}
	out.text("\n],\"tool\":")
	out.object(sarif.NewTool().WithDriver(driver))
	// The text before the last "/" is what GitHub tells uploads apart by.
	out.text(`,"automationDetails":`)
	out.object(sarif.NewRunAutomationDetails().WithID("securetag/" + j.Plugin + "/" + r.Scan.ID))
	out.text(`,"invocations":[`)
	out.object(sarifInvocation(j))
	out.text("]}")
	out.more = false
	return out.err
}

func sarifRule(f client.Finding) *sarif.ReportingDescriptor {
	props := sarif.NewPropertyBag().AddTag("security")
	if s := securitySeverity(f.Severity); s != "" {
		props.Add("security-severity", s)
	}
	rule := sarif.NewReportingDescriptor().WithID(f.RuleID).WithProperties(props)
	title := cmp.Or(safetext.Plain(f.Title), f.RuleID)
	rule.WithShortDescription(sarif.NewMultiformatMessageString().WithText(title))
	rule.WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(sarifLevel(f.Severity)))
	for _, r := range f.References {
		if u := link(r); u != "" {
			rule.WithHelpURI(u)
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
		if t = safetext.Plain(t); t != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

// securitySeverity is the CVSS-like number that GitHub and DefectDojo sort by.
// Info and unknown have none: 0.0 would read as "no problem".
func securitySeverity(severity string) string {
	switch SeverityName(severity) {
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
	switch SeverityName(severity) {
	case host.SeverityCritical, host.SeverityHigh:
		return "error"
	case host.SeverityMedium, host.SeverityUnknown:
		return "warning"
	default:
		return "note"
	}
}

func sarifResult(f client.Finding, rule int, compared bool) *sarif.Result {
	text := cmp.Or(strings.TrimSpace(f.Message), safetext.Plain(f.Title), f.RuleID, "no message")
	r := sarif.NewResult().WithRuleID(f.RuleID).WithRuleIndex(rule).WithLevel(sarifLevel(f.Severity)).
		WithMessage(sarif.NewMessage().WithText(text))
	if l := sarifLocation(f.Location, f.Snippet); l != nil {
		r.AddLocation(l)
	}
	prints := map[string]string{}
	for key, value := range map[string]string{FingerprintKey: f.Fingerprint, gitHubKey: f.LineHash} {
		if value != "" {
			prints[key] = value
		}
	}
	r.WithPartialFingerprints(prints)
	props := sarif.NewPropertyBag().Add("severity", string(SeverityName(f.Severity)))
	if f.Confidence != "" {
		props.Add("confidence", f.Confidence)
	}
	if len(f.AlsoFoundBy) > 0 {
		props.Add("alsoFoundBy", f.AlsoFoundBy)
	}
	if compared {
		r.WithBaselineState(cmp.Or(f.State, string(host.BaselineNew)))
	}
	return r.WithProperties(props)
}

// judged has suppressions even when there are none: the standard takes results
// without for ones of which nobody knows, and wants all to have them or none.
type judged struct {
	*sarif.Result
	Suppressions []*sarif.Suppression `json:"suppressions"`
}

// suppressions are what people said of a finding, and what a plugin read in the
// source.
func suppressions(f client.Finding) []*sarif.Suppression {
	all := []*sarif.Suppression{}
	if host.Triage(f.Triage).Suppresses() {
		s := sarif.NewSuppression().WithKind("external").WithStatus("accepted")
		s.WithJustification(cmp.Or(strings.TrimSpace(f.TriageReason), strings.ReplaceAll(f.Triage, "_", " ")))
		all = append(all, s)
	}
	var said struct {
		Suppressed string `json:"suppressed"`
	}
	if json.Unmarshal(f.Properties, &said) == nil && said.Suppressed == "inSource" {
		all = append(all, sarif.NewSuppression().WithKind(said.Suppressed).WithStatus("accepted"))
	}
	return all
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
	if j.NotApplicable != "" {
		i.AddToolExecutionNotification(notification("note", safetext.Plain(j.Plugin)+": "+JobWords(j)))
	}
	for k, line := range Notes(j) {
		level := "note"
		if k < len(j.Notes) && j.Notes[k].Level != string(host.NoteNotice) {
			level = "warning"
		}
		i.AddToolExecutionNotification(notification(level, line))
	}
	if j.State == client.StateSucceeded {
		return i
	}
	text := fmt.Sprintf("%s %s: %s", safetext.Plain(j.Plugin), StateWords(j.State), JobReason(j))
	n := notification("error", text)
	if j.State == client.StatePartial {
		n.WithLevel("warning")
	}
	if j.Error != nil && j.Error.Code != "" {
		n.WithDescriptor(sarif.NewReportingDescriptorReference().WithID(j.Error.Code))
	}
	return i.AddToolExecutionNotification(n)
}

func notification(level, text string) *sarif.Notification {
	return sarif.NewNotification().WithLevel(level).WithMessage(sarif.NewMessage().WithText(text))
}

// lean takes out what go-sarif writes although it says nothing: empty arrays
// and the default -1 of numbers, about half of a log.
func lean(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	prune(doc)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return safetext.JSON(bytes.TrimSpace(b.Bytes())), nil
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
				if len(e) == 0 && key != "results" && key != "runs" && key != "suppressions" {
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
