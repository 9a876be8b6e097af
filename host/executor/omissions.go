package executor

import (
	"fmt"
	"strings"

	"github.com/securetaghq/securetag/host"
)

// omissions are the parts of a result that are not kept, by why not. The reasons
// are this host's own words, and few.
type omissions struct {
	reasons []omission
}

type omission struct {
	what  string // plural, "findings of rules that the plugin does not declare"
	count int
	first string // one of them, cleaned
}

func (o *omissions) add(what, which string) (first bool) {
	for i := range o.reasons {
		if o.reasons[i].what == what {
			o.reasons[i].count++
			return false
		}
	}
	o.reasons = append(o.reasons, omission{what: what, count: 1, first: which})
	return true
}

// judge makes a good result partial when some of it was left out: it must not
// look whole.
func (o *omissions) judge(rep host.Report) host.Report {
	if len(o.reasons) == 0 || (rep.State != host.StateSucceeded && rep.State != host.StatePartial) {
		return rep
	}
	parts := make([]string, 0, len(o.reasons)+1)
	if rep.Reason != "" {
		parts = append(parts, rep.Reason)
	}
	for _, r := range o.reasons {
		parts = append(parts, fmt.Sprintf("left out %d %s (the first: %s)", r.count, r.what, r.first))
	}
	return host.Report{State: host.StatePartial, Reason: strings.Join(parts, "; ")}
}

// leaveOut counts what is not kept, and tells the operator of the first of its
// kind.
func (s *scan) leaveOut(what, which string) {
	if s.left.add(what, which) {
		s.log.Warn("left out some of what a plugin sent", s.who("what", what, "which", which)...)
	}
}
