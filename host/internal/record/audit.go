package record

import "github.com/securetaghq/securetag/host"

// Audit gives a line's actor, name, action, target, outcome, source, request and
// times as they are stored. What is long in it is cut: names come from outside.
func Audit(l host.AuditLine) []any {
	const longest = 300
	cut := func(s string) string {
		if len(s) > longest {
			s = s[:longest]
		}
		return Clean(s)
	}
	return []any{cut(l.Actor), cut(l.Name), cut(l.Action), cut(l.Target), cut(l.Outcome), cut(l.Source), cut(l.Request), max(l.Times, 1)}
}
