package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// looked says what is wrong with a report of a tool that did not look, or could
// not: without it, that would be a report without results.
func (r *sarifReport) looked(p *places) error {
	if len(r.Runs) == 0 {
		return errors.New("it has no run: the tool did not start")
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Results == nil { // as the standard has it; none found is an empty list
			return fmt.Errorf("the run of %q has no list of results: it did not look", oneLine(run.Tool.Driver.Name, maxTitle))
		}
		for _, inv := range run.Invocations {
			if why := first(inv.configured(run, p), "error"); why != "" {
				return fmt.Errorf("the tool is configured wrongly: %s", oneLine(p.hide(why), maxTitle))
			}
			if inv.failed() && len(run.Results) == 0 {
				return fmt.Errorf("the tool says that it failed%s", oneLine(p.hide(inv.why(run, p)), maxTitle))
			}
		}
	}
	return nil
}

func (inv *sarifInvocation) failed() bool { return inv.Successful != nil && !*inv.Successful }

// why begins with a colon, and is empty when the report does not say.
func (inv *sarifInvocation) why(run *sarifRun, p *places) string {
	for _, s := range []string{first(inv.executing(run, p), "error"), inv.NotStarted, inv.Signal, inv.Exit} {
		if s != "" {
			return ": " + s
		}
	}
	return ""
}

// first is what the first of a level says; "" when there is none.
func first(all []sarifDiagnostic, level string) string {
	for _, n := range all {
		if n.level() == level {
			if s := n.Message.fill(n.Message.Text); s != "" {
				return s
			}
			return "it does not say what"
		}
	}
	return ""
}

// level is "warning" where it is left out, as the standard says.
func (n *sarifDiagnostic) level() string { return cmp.Or(n.Level, "warning") }

// configured are the notifications of the tool's own configuration, and executing
// all others: Bandit puts among the first which files of the target it could not
// read.
func (inv *sarifInvocation) configured(run *sarifRun, p *places) []sarifDiagnostic {
	return slices.DeleteFunc(slices.Clone(inv.Configured), func(n sarifDiagnostic) bool { return n.path(run, p) != "" })
}

func (inv *sarifInvocation) executing(run *sarifRun, p *places) []sarifDiagnostic {
	return slices.Concat(inv.Executing, slices.DeleteFunc(slices.Clone(inv.Configured), func(n sarifDiagnostic) bool { return n.path(run, p) == "" }))
}

// tell makes notes of what the tool had to say beside its results. After an
// error of it, results may be missing; after a warning, if strict.
func (inv *sarifInvocation) tell(run *sarifRun, p *places, strict bool, out *Out) {
	executing := inv.executing(run, p)
	for _, n := range executing {
		if n.level() == "error" || n.level() == "warning" {
			out.Note(Note{Level: Warning, Summary: p.hide(n.Message.fill(n.Message.Text)), Path: n.path(run, p)})
		}
	}
	if inv.failed() {
		out.Partial("the tool says that it did not finish" + p.hide(inv.why(run, p)))
	} else if why := first(executing, "error"); why != "" {
		out.Partial("an error of the tool: " + p.hide(why))
	} else if why := first(executing, "warning"); why != "" && strict {
		out.Partial("a warning of the tool: " + p.hide(why))
	}
}

// path is the file of the target that it is about; "" for none.
func (n *sarifDiagnostic) path(run *sarifRun, p *places) string {
	if len(n.Locations) == 0 || n.Locations[0].Physical.Artifact.URI == "" {
		return ""
	}
	return p.inTarget(absolute(run, n.Locations[0].Physical.Artifact))
}
