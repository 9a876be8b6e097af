package proxy

import (
	"maps"
	"slices"

	"github.com/securetaghq/securetag/sdk/egress"
)

// job is one that runs.
type job struct{ permitted []string } // none: what the rules allow

// permit has the exit keep to what the running jobs may call, together: which of
// them calls does not show. While none runs that of the last ones stays, so that
// what a job has left running calls nothing that the job could not; before the
// first it is the rules alone. mu is held.
func (e *Exit) permit() {
	if len(e.running) == 0 {
		return
	}
	var all []string
	for j := range e.running {
		if len(j.permitted) == 0 {
			e.now = e.guard
			return
		}
		all = append(all, j.permitted...)
	}
	e.now = e.guard.Permitting(all)
}

// rules are those of now.
func (e *Exit) rules() *egress.Guard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// closeForbidden ends what was connected when it could be and now could not.
func (e *Exit) closeForbidden() {
	e.mu.Lock()
	now, outside := e.now, slices.Collect(maps.Keys(e.outside))
	e.mu.Unlock()
	for _, c := range outside {
		if now.CheckURL(c.to) != nil {
			_ = c.Close()
		}
	}
}
