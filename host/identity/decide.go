package identity

import "cmp"

// State is how a finding stands to what was known before, as SARIF has it.
type State string

const (
	New       State = "new"
	Unchanged State = "unchanged"
	Updated   State = "updated" // it is the same, and something that is shown has changed
	Absent    State = "absent"
)

// Moment orders scans by when they were accepted. The zero value is before all.
type Moment struct {
	At   int64 // microseconds
	Scan string
}

// Compare is negative when m is before o.
func (m Moment) Compare(o Moment) int {
	return cmp.Or(cmp.Compare(m.At, o.At), cmp.Compare(m.Scan, o.Scan))
}

// Run is one job that delivered.
type Run struct {
	At    Moment // its scan's
	Whole bool   // it saw the whole target: it succeeded
	Scope string // what it looked at, and how
	// Newer is the newest job of the same scope that saw the whole target, when
	// its scan is newer than this one; zero: there is none.
	Newer Moment
}

// Decision is what a run says of the project's findings.
type Decision struct {
	// Seen has, for each seen finding in order, what it is.
	Seen []SeenAs
	// Absent are the known findings that are gone, by their places.
	Absent []int
}

// SeenAs is what a seen finding is.
type SeenAs struct {
	Known int // its place; -1: it was not known
	// State is the observation's. For what was not known it is New.
	State State
	// Late: a newer scan decided the known finding's state, which stays. What
	// was not known and a newer scan of the same scope did not see is gone
	// already.
	Late bool
}

// Decide matches and says what follows. A run never changes what a newer one
// decided, so that scans may end in any order.
func Decide(known []Known, seen []Seen, run Run) Decision {
	d := Decision{Seen: make([]SeenAs, len(seen))}
	for i := range d.Seen {
		d.Seen[i] = SeenAs{Known: -1, State: New, Late: run.Newer.Compare(run.At) > 0}
	}
	found := make([]bool, len(known))
	// A late run does not tell a rename from what was removed since.
	for _, p := range Match(known, seen, run.Whole && run.Newer.Compare(run.At) <= 0) {
		k, s := known[p.Known], seen[p.Seen]
		found[p.Known] = true
		as := SeenAs{Known: p.Known, State: Unchanged, Late: k.Decided.Compare(run.At) > 0}
		switch {
		case as.Late:
		case k.Absent:
			as.State = New
		case p.Moved || k.Digest != s.Digest:
			as.State = Updated
		}
		d.Seen[p.Seen] = as
	}
	for i, k := range known {
		if run.Whole && !found[i] && !k.Absent && k.Scope == run.Scope && k.Decided.Compare(run.At) < 0 {
			d.Absent = append(d.Absent, i)
		}
	}
	return d
}
