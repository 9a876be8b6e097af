package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level says what a check that does not pass means.
type Level string

const (
	// Must is a rule of the contract: the host relies on it.
	Must Level = "must"
	// Should is good manners: without it the plugin works, but not as well as
	// people expect.
	Should Level = "should"
)

// Check is one thing that is tested. All but ID and Level is for people.
type Check struct {
	ID    string `json:"id"` // GROUP.NAME, stable for ever
	Level Level  `json:"level"`
	Title string `json:"title"` // one line: what a good plugin does
	Fix   string `json:"fix"`   // what to do when it fails
	Rule  string `json:"rule"`  // where the contract says so: a place in Contract, or in the guide
}

// Where rules are written down, from the root of the repository.
const (
	Contract = "sdk/proto/securetag/plugin/v1/scanner.proto"
	Guide    = "docs/plugins.md"
)

// Group is the part of the id before the point.
func (c Check) Group() string {
	group, _, _ := strings.Cut(c.ID, ".")
	return group
}

// Status is how a check ended.
type Status string

const (
	Pass          Status = "pass"
	Fail          Status = "fail"
	Warn          Status = "warn" // a Should that does not pass
	NotApplicable Status = "not-applicable"
)

// Result is how one check ended.
type Result struct {
	Check
	Status Status `json:"status"`
	// Saw says what was seen, or why the check is not applicable. It may quote
	// the plugin, and is not cleaned.
	Saw  string        `json:"saw,omitempty"`
	Took time.Duration `json:"took_ns"`
}

// Report is how a plugin did.
type Report struct {
	// Name and Version are what the plugin calls itself; "" when it did not say.
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Results []Result      `json:"results"`
	Took    time.Duration `json:"took_ns"`
}

// Count is how many results have a status.
func (r Report) Count(s Status) int {
	n := 0
	for _, res := range r.Results {
		if res.Status == s {
			n++
		}
	}
	return n
}

// OK reports whether the plugin broke no rule. One that warns is good.
func (r Report) OK() bool { return r.Count(Fail) == 0 && r.Count(Pass)+r.Count(Warn) > 0 }

// Checks lists every check, in the order in which they run.
func Checks() []Check {
	var out []Check
	for _, c := range all() {
		out = append(out, c.Check)
	}
	return out
}

// Select gives the checks that are named: by id, or all of a group.
func Select(names []string) ([]Check, error) {
	checks := Checks()
	if len(names) == 0 {
		return checks, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.ID == name || c.Group() == name }) {
			return nil, fmt.Errorf("there is no check and no group of checks %q", name)
		}
	}
	return slices.DeleteFunc(checks, func(c Check) bool {
		return !slices.Contains(names, c.ID) && !slices.Contains(names, c.Group())
	}), nil
}

// stage is how far a plugin must have come for a check to make sense.
type stage int

const (
	anyStage   stage = iota // it need not even start
	started                 // it gave a handshake
	described               // and a description that the host takes
	configured              // and took its settings
	treeStage               // and scans trees
	urlStage                // and scans URLs
)

// judgeFunc is a method of kit: its receiver comes first, as in a method
// expression.
type judgeFunc func(k *kit, ctx context.Context) outcome

// check is a Check and how it is done.
type check struct {
	Check
	stage stage
	run   judgeFunc
}

// outcome is what a check has to say.
type outcome struct {
	status Status
	saw    string
}

func pass() outcome { return outcome{status: Pass} }

func failed(format string, args ...any) outcome {
	return outcome{Fail, fmt.Sprintf(format, args...)}
}

func notApplicable(format string, args ...any) outcome {
	return outcome{NotApplicable, fmt.Sprintf(format, args...)}
}

// all is the list of checks. Their order is that of a plugin's life, so that
// the first failure is the one to mend first.
func all() []check {
	return slices.Concat(
		startChecks(), describeChecks(), configureChecks(), healthChecks(), treeChecks(), urlChecks(), scanChecks(),
		eventChecks(), findingChecks(), artifactChecks(), fileChecks(), outputChecks(),
		cancelChecks(), resourceChecks(), stopChecks(),
	)
}

// must and should make the rows of the lists.
func must(id string, s stage, title, fix, rule string, run judgeFunc) check {
	return check{Check{ID: id, Level: Must, Title: title, Fix: fix, Rule: rule}, s, run}
}

func should(id string, s stage, title, fix, rule string, run judgeFunc) check {
	return check{Check{ID: id, Level: Should, Title: title, Fix: fix, Rule: rule}, s, run}
}

func contract(place string) string { return Contract + ": " + place }
func guide(place string) string    { return Guide + ": " + place }
