// Package track turns what a store holds of a scan and its project into the
// changes that tracking the scan makes. It decides nothing about identity, which
// package identity does, and touches no database, which the stores do.
package track

import (
	"cmp"
	"slices"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/identity"
	"github.com/securetaghq/securetag/host/internal/record"
)

// Known is a finding of the project.
type Known struct {
	identity.Known
	Plugin     string
	Occurrence int
	Triage     host.Triage
	LastScan   host.ScanID
}

// Run is the newest job of a plugin that saw the whole of a scope.
type Run struct {
	Plugin, Scope string
	At            identity.Moment
}

// Loaded is what there is.
type Loaded struct {
	Scan  host.Scan // with its jobs
	Seen  []record.Observed
	Known []Known
	Runs  []Run
}

// Put is a project finding as it is to be after the scan.
type Put struct {
	ID         host.ProjectFindingID
	Seen       record.Observed
	Occurrence int
	State      identity.State
	Decided    identity.Moment
	Scope      string
}

// Observation says which project finding a finding of the scan is.
type Observation struct {
	Seen  record.Observed
	ID    host.ProjectFindingID
	State identity.State
}

// Changes are what tracking writes.
type Changes struct {
	Insert  []Put
	Update  []Put
	Late    []host.ProjectFindingID // seen, but a newer scan decided what they are
	Absent  []host.ProjectFindingID
	Reopen  []host.ProjectFindingID // were fixed, and are back
	Observe []Observation
	Runs    []Run

	New, Unchanged, Updated, Untracked int
}

// Delivered names the plugins of the scan's jobs that delivered.
func Delivered(s host.Scan) (plugins []string) {
	for _, j := range s.Jobs {
		if record.Delivers(j.State) {
			plugins = append(plugins, j.Plugin)
		}
	}
	return plugins
}

// At is when a scan was accepted.
func At(s host.Scan) identity.Moment {
	return identity.Moment{At: s.CreatedAt.UnixMicro(), Scan: string(s.ID)}
}

// Plan works the changes out, plugin by plugin.
func Plan(l Loaded) (c Changes) {
	p := planner{scan: l.Scan, changes: &c, taken: map[twin]int{}}
	for _, k := range l.Known {
		at := twin{k.Plugin, k.Fingerprint}
		p.taken[at] = max(p.taken[at], k.Occurrence)
	}
	for _, j := range l.Scan.Jobs {
		if record.Delivers(j.State) {
			p.job(j, l)
		}
	}
	return c
}

// twin is what findings have in common that only their occurrence tells apart.
type twin struct{ plugin, fingerprint string }

type planner struct {
	scan    host.Scan
	changes *Changes
	taken   map[twin]int // the highest occurrence
}

func (p *planner) job(j host.Job, l Loaded) {
	run := identity.Run{At: At(p.scan), Whole: j.State == host.StateSucceeded, Scope: record.ScopeOf(p.scan, j.Plugin)}
	for _, r := range l.Runs {
		if r.Plugin == j.Plugin && r.Scope == run.Scope && r.At.Compare(run.At) > 0 {
			run.Newer = r.At
		}
	}
	if run.Whole && run.Newer == (identity.Moment{}) {
		p.changes.Runs = append(p.changes.Runs, Run{j.Plugin, run.Scope, run.At})
	}
	var known []Known
	var plain []identity.Known
	for _, k := range l.Known {
		// What this scan saw already is its own: it was tracked before, and a job
		// that had failed then was tried again.
		if k.Plugin == j.Plugin && k.LastScan != p.scan.ID {
			known, plain = append(known, k), append(plain, k.Known)
		}
	}
	var observed []record.Observed
	var seen []identity.Seen
	for _, o := range l.Seen {
		if o.JobID == j.ID {
			observed = append(observed, o)
			seen = append(seen, identity.Seen{ID: string(o.ID), Rule: o.Rule, Fingerprint: o.Fingerprint, Content: o.Content, Line: o.Line, Digest: o.Digest})
		}
	}
	d := identity.Decide(plain, seen, run)
	for _, i := range d.Absent {
		p.changes.Absent = append(p.changes.Absent, host.ProjectFindingID(known[i].ID))
	}
	for i, as := range d.Seen {
		p.observe(j.Plugin, known, observed[i], as, run)
	}
}

func (p *planner) observe(plugin string, known []Known, o record.Observed, as identity.SeenAs, run identity.Run) {
	c := p.changes
	put := Put{Seen: o, State: as.State, Decided: run.At, Scope: run.Scope}
	switch {
	case as.Known < 0:
		put.ID, put.Occurrence = host.NewProjectFindingID(), p.occurrence(plugin, o.Fingerprint)
		if as.Late {
			put.State, put.Decided = identity.Absent, run.Newer
		}
		c.Insert = append(c.Insert, put)
	case as.Late:
		put.ID = host.ProjectFindingID(known[as.Known].ID)
		c.Late = append(c.Late, put.ID)
	default:
		k := known[as.Known]
		put.ID, put.Occurrence = host.ProjectFindingID(k.ID), k.Occurrence
		if k.Fingerprint != o.Fingerprint {
			put.Occurrence = p.occurrence(plugin, o.Fingerprint)
		}
		c.Update = append(c.Update, put)
		if k.Triage == host.TriageFixed {
			c.Reopen = append(c.Reopen, put.ID)
		}
	}
	c.Observe = append(c.Observe, Observation{o, put.ID, as.State})
	switch as.State {
	case identity.New:
		c.New++
	case identity.Updated:
		c.Updated++
	default:
		c.Unchanged++
	}
}

// occurrence gives the next one that is free.
func (p *planner) occurrence(plugin, fingerprint string) int {
	at := twin{plugin, fingerprint}
	p.taken[at]++
	return p.taken[at]
}

// Fit leaves out what has no room: the least severe of what is new.
func (c *Changes) Fit(room int) {
	if len(c.Insert) <= room {
		return
	}
	slices.SortStableFunc(c.Insert, func(a, b Put) int {
		gone := func(p Put) int {
			if p.State == identity.Absent {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(gone(a), gone(b)), cmp.Compare(a.Seen.Rank, b.Seen.Rank))
	})
	room = max(room, 0)
	out := map[host.ProjectFindingID]bool{}
	for _, p := range c.Insert[room:] {
		out[p.ID] = true
	}
	c.Insert = c.Insert[:room]
	c.Observe = slices.DeleteFunc(c.Observe, func(o Observation) bool { return out[o.ID] })
	c.New, c.Untracked = c.New-len(out), c.Untracked+len(out)
}
