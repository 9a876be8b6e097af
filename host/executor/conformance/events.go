package conformance

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

func eventChecks() []check {
	return []check{
		must("events.completed", configured, "Each scan ends with exactly one Completed, last, of a known status",
			"Send one Completed when the scan is over, also when it failed, and nothing after it; then end the stream. Give a reason unless it succeeded.",
			contract("Scan, Completed"), (*kit).completedOnce),
		must("events.count", configured, "Completed counts the findings that were sent",
			"Count the findings as you send them and put the number into Completed.findings.",
			contract("Completed.findings"), minded("events.count")),
		must("events.size", configured, "No event is larger than 1 MiB",
			"Send findings in smaller batches, and cut what is long.",
			contract("rules for every message"), minded("events.size")),
		must("events.silence", configured, "A running scan shows signs of life within max_silence",
			"Send a Progress every few seconds, also while one file takes long and when there is nothing new.",
			contract("Limits.max_silence, Progress"), minded("events.silence")),
		must("events.utf8", configured, "All text is UTF-8",
			"Replace bytes that are not UTF-8 before they go into a message: names of files and lines of a target may hold any byte.",
			contract("rules for every message"), minded("events.utf8")),
	}
}

// complete judges a Completed.
func (t *transcript) complete(c *pluginv1.Completed) {
	switch s := c.GetStatus(); s {
	case pluginv1.Completed_STATUS_SUCCEEDED:
	case pluginv1.Completed_STATUS_PARTIAL, pluginv1.Completed_STATUS_FAILED, pluginv1.Completed_STATUS_CANCELLED, pluginv1.Completed_STATUS_NOT_APPLICABLE:
		if strings.TrimSpace(c.GetReason()) == "" {
			t.note("events.completed", "%s without a reason", statusName(s))
		}
	default:
		t.note("events.completed", "Completed with the unknown status %d", s)
	}
	if n := c.GetFindings(); n != t.found && c.GetStatus() != pluginv1.Completed_STATUS_FAILED {
		t.note("events.count", "Completed says %d findings, and %d were sent", n, t.found)
	}
	if c.GetStatus() == pluginv1.Completed_STATUS_NOT_APPLICABLE && t.found > 0 {
		t.note("events.completed", "%s after %d findings", statusName(c.GetStatus()), t.found)
	}
	t.leaks("the reason", c.GetReason())
}

func statusName(s pluginv1.Completed_Status) string {
	return strings.TrimPrefix(s.String(), "STATUS_")
}

// finish judges the end of a stream.
func (t *transcript) finish() {
	switch {
	case notUTF8(t.err):
		t.note("events.utf8", "a message that is not UTF-8")
	case t.completed == nil && errors.Is(t.err, io.EOF):
		t.note("events.completed", "the stream ended without Completed")
	case t.completed != nil && !errors.Is(t.err, io.EOF) && !t.timedOut && t.died == "":
		t.note("events.completed", "the stream ended with %s after Completed", grpcError(t.err))
	case t.completed.GetStatus() == pluginv1.Completed_STATUS_CANCELLED && !t.cancelled:
		t.note("events.completed", "CANCELLED, and nobody asked for it")
	}
}

func findingChecks() []check {
	const redact = "Show at most a few characters of a secret: in messages, snippets, identities, properties, logs and reasons."
	return []check{
		must("findings.rule", configured, "Every finding names a declared rule",
			"List the rule in Describe, with the same id, or do not report the finding.",
			contract("Finding.rule_id"), found("findings.rule")),
		must("findings.path", configured, "Paths are relative, slash-separated and of a file in the target",
			`Make the path relative to target.root, with "/" and without "." and "..", and report it as it is on disk.`,
			contract("Location.path"), found("findings.path")),
		must("findings.lines", configured, "Lines and columns are 1-based and within the file",
			"Count lines from 1 by line feeds alone, and columns from 1. Leave out what is not known: 0.",
			contract("Location"), found("findings.lines")),
		must("findings.values", configured, "Severity and confidence have known values, and a URL is http or https",
			"Use the values of the contract, or leave the field out.",
			contract("Finding"), found("findings.values")),
		should("findings.limits", configured, "Messages, snippets and properties are within their limits and plain text",
			"Cut messages to 8 KiB and snippets to 2 KiB, send at most 32 properties, and leave control characters out: the host cuts and drops without asking.",
			contract("Finding.message, Finding.snippet"), found("findings.limits")),
		must("findings.redacted", treeStage, "Secrets of the target are never shown in clear",
			redact, contract("Finding.snippet, Finding.identity"), minded("findings.redacted")),
	}
}

const (
	maxMessage = 8 << 10
	maxSnippet = 2 << 10
	maxProps   = 32
	maxProp    = 1 << 10
)

// finding judges one finding.
func (t *transcript) finding(f *pluginv1.Finding) {
	if !t.rules[f.GetRuleId()] {
		t.note("findings.rule", "a finding of the rule %s, which is not declared", quote(f.GetRuleId()))
	}
	if s := f.GetSeverity(); pluginv1.Severity_name[int32(s)] == "" {
		t.note("findings.values", "the unknown severity %d", s)
	}
	if c := f.GetConfidence(); pluginv1.Finding_Confidence_name[int32(c)] == "" {
		t.note("findings.values", "the unknown confidence %d", c)
	}
	if u := f.GetLocation().GetUrl(); u != "" && clean.URL(u) == "" {
		t.note("findings.values", "the URL %s, which is not an http or https one", quote(u))
	}
	t.limits(f)
	t.place(f.GetLocation())
	t.leaks("the message of a finding", f.GetMessage())
	t.leaks("the snippet of a finding", f.GetSnippet())
	t.leaks("the identity of a finding", strings.Join(f.GetIdentity(), "\n"))
	for _, v := range f.GetProperties() {
		t.leaks("a property of a finding", v)
	}
}

func (t *transcript) limits(f *pluginv1.Finding) {
	switch {
	case len(f.GetMessage()) > maxMessage:
		t.note("findings.limits", "a message of %d bytes", len(f.GetMessage()))
	case len(f.GetSnippet()) > maxSnippet:
		t.note("findings.limits", "a snippet of %d bytes", len(f.GetSnippet()))
	case len(f.GetProperties()) > maxProps:
		t.note("findings.limits", "%d properties", len(f.GetProperties()))
	case strings.ContainsFunc(f.GetMessage(), steers):
		t.note("findings.limits", "a message with control characters: %s", quote(f.GetMessage()))
	}
	for k, v := range f.GetProperties() {
		if len(v) > maxProp {
			t.note("findings.limits", "the property %s of %d bytes", quote(k), len(v))
		}
	}
}

// steers reports characters that a terminal would obey.
func steers(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// place judges where a finding says it is.
func (t *transcript) place(l *pluginv1.Location) {
	p := l.GetPath()
	if p == "" {
		if l.GetStartLine() > 0 {
			t.note("findings.path", "a line without a path")
		}
		return
	}
	if t.tree == nil {
		return
	}
	switch {
	case path.IsAbs(p), filepath.IsAbs(p):
		t.note("findings.path", "the absolute path %s", quote(p))
	case p != path.Clean(p), strings.HasPrefix(p, "../"):
		t.note("findings.path", `the path %s, which has "." or ".." or an empty part`, quote(p))
	case t.tree.canary != "" && !t.tree.has(p):
		t.note("links", "a finding in %s, which is not in the tree but behind a link", quote(p))
	case !t.tree.has(p):
		t.note("findings.path", "the path %s, and there is no such file", quote(p))
	case t.tree.regular[p]:
		t.within(p, l)
	}
}

// within judges lines and columns against the file.
func (t *transcript) within(p string, l *pluginv1.Location) {
	start, end := int(l.GetStartLine()), int(l.GetEndLine())
	if start == 0 {
		if end > 0 || l.GetStartColumn() > 0 || l.GetEndColumn() > 0 {
			t.note("findings.lines", "%s: an end or a column without a line", quote(p))
		}
		return
	}
	lengths, err := t.tree.lengths(p)
	if err != nil {
		return // a file that cannot be read tells nothing
	}
	if end == 0 {
		end = start
	}
	from, to := int(l.GetStartColumn()), int(l.GetEndColumn())
	switch n := len(lengths); {
	case start > n || end > n+1: // an end may be the empty rest behind the last line feed
		t.note("findings.lines", "%s: lines %d to %d, and the file has %d", quote(p), start, end, n)
	case end < start, end == start && to > 0 && to < from:
		t.note("findings.lines", "%s: line %d column %d to line %d column %d, which is backwards", quote(p), start, from, end, to)
	case from > lengths[start-1]+1:
		t.note("findings.lines", "%s: column %d of line %d, which has %d bytes", quote(p), from, start, lengths[start-1])
	case to > 0 && end <= n && to > lengths[end-1]+2: // one past the last, and the line feed
		t.note("findings.lines", "%s: column %d of line %d, which has %d bytes", quote(p), to, end, lengths[end-1])
	}
}

// leaks looks for what a text must not show: planted secrets, and what stands
// only outside of the target.
func (t *transcript) leaks(where, text string) {
	if t.tree == nil {
		return
	}
	for _, s := range t.tree.secrets {
		if strings.Contains(text, s) {
			t.note("findings.redacted", "%s shows a secret of the target in clear", where)
		}
	}
	if t.tree.canary != "" && strings.Contains(text, t.tree.canary) {
		t.note("links", "%s shows what is not in the tree but behind a link", where)
	}
}

func artifactChecks() []check {
	return []check{
		must("artifacts.valid", configured, "Artifacts are closed regular files beneath the work directory, well named, with the hash that is said",
			"Write the file below work_dir, close it, and send its path relative to work_dir, a name of at most 128 letters, digits and ._+@- that is unique in the scan, and its SHA-256 in lower-case hex or nothing.",
			contract("Artifact"), (*kit).artifactsValid),
	}
}

// artifact judges one artifact, while its file is there.
func (t *transcript) artifact(a *pluginv1.Artifact) {
	const id = "artifacts.valid"
	name := a.GetName()
	switch _, _, err := clean.Artifact(a); {
	case err != nil:
		t.note(id, "%s: %v", quote(name), err)
	case t.artifacts[name]:
		t.note(id, "two artifacts are called %s", quote(name))
	default:
		t.artifactFile(a)
	}
	t.artifacts[name] = true
}

func (t *transcript) artifactFile(a *pluginv1.Artifact) {
	file := filepath.Join(t.workDir, filepath.FromSlash(a.GetPath()))
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		t.note("artifacts.valid", "%s is not at %s: %v", quote(a.GetName()), quote(a.GetPath()), err)
		return
	}
	real, err := filepath.EvalSymlinks(file)
	if st.Mode&unix.S_IFMT != unix.S_IFREG || err != nil || real != file {
		t.note("artifacts.valid", "%s at %s is not a regular file, or behind a link", quote(a.GetName()), quote(a.GetPath()))
		return
	}
	if a.GetSha256() != "" && a.GetSha256() != digest(file) {
		t.note("artifacts.valid", "%s has another hash than is said", quote(a.GetName()))
	}
}

// quote is a text of the plugin's, short and in one line.
func quote(s string) string { return fmt.Sprintf("%q", clean.Cut(s, 120)) }
