package export

import (
	"fmt"
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
