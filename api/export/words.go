package export

import (
	"fmt"
	"net/url"
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
