package export

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// SeverityName is one of the names we know, so that it needs no cleaning.
func SeverityName(s string) host.Severity { return host.Severities()[host.Severity(s).Rank()] }

// Place is where a finding is: path:line, a URL or "-".
func Place(l client.Location) string {
	switch {
	case l.Path != "" && l.StartLine > 0:
		return fmt.Sprintf("%s:%d", safetext.Visible(l.Path), l.StartLine)
	case l.Path != "":
		return safetext.Visible(l.Path)
	case l.URL != "":
		return safetext.Visible(l.URL)
	default:
		return "-"
	}
}

// StateWords is a state for people: "timed out".
func StateWords(s client.State) string {
	return strings.ReplaceAll(safetext.Plain(string(s)), "_", " ")
}

// JobReason is why a job is not succeeded, in one harmless line.
func JobReason(j client.Job) string {
	switch {
	case j.Error == nil && j.State.Final():
		return "no reason given"
	case j.Error == nil:
		return "no result yet"
	}
	s := safetext.Plain(j.Error.Message)
	if code := safetext.Plain(j.Error.Code); code != "" {
		s += " (" + code + ")"
	}
	if j.Attempt > 1 {
		s += fmt.Sprintf(", after %d attempts", j.Attempt)
	}
	return s
}

// JobWords is what a job did, in one harmless line: "succeeded, 3 findings".
func JobWords(j client.Job) string {
	switch {
	case j.State != client.StateSucceeded:
		return StateWords(j.State) + ": " + JobReason(j)
	case j.NotApplicable != "":
		return "nothing to look at: " + safetext.Plain(j.NotApplicable)
	}
	return StateWords(j.State) + ", " + Count(host.Counts(j.Counts).Total(), "finding", "findings")
}

// Notes are the remarks of a job, a harmless line each, the last of them for
// those that are not kept.
func Notes(j client.Job) (lines []string) {
	for _, n := range j.Notes {
		line := safetext.Plain(n.Text)
		if n.Path != "" {
			line = safetext.Visible(n.Path) + " " + line
		}
		lines = append(lines, line)
	}
	if j.MoreNotes > 0 {
		lines = append(lines, Count(j.MoreNotes, "more note", "more notes"))
	}
	return lines
}

// Others is who else found it, in a few harmless words: "gosec (G101)".
func Others(f client.Finding) string {
	var names []string
	for _, o := range f.AlsoFoundBy {
		if name := safetext.Visible(o.Plugin) + " (" + safetext.Visible(o.RuleID) + ")"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Count is "1 file", "2 files", "12,345 files".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + " " + many
}

// link is a reference that may become one, https alone, or "".
func link(s string) string {
	if u, err := url.Parse(s); err == nil && u.Scheme == "https" && u.Host != "" && safetext.Plain(s) == s {
		return u.String()
	}
	return ""
}
