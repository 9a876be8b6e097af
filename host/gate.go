package host

import "fmt"

// Verdict is what a gate says of a scan.
type Verdict struct {
	Gate    Gate
	Pending bool     // it has not ended, or was not tracked yet
	Passed  bool     // never while it is pending
	Reasons []string // why it did not pass, for people
}

// GateOf is the gate a scan is held to: the request's, or else the project's.
func GateOf(s Scan, f GateFacts) Gate {
	if s.Gate != nil {
		return *s.Gate
	}
	return f.Project
}

// Judge holds a scan against its gate. A job that did not see the whole target
// closes it, whatever was found, and so does a target with nothing in it for any
// plugin: what was not looked at is not clean.
func Judge(s Scan, f GateFacts) Verdict {
	v := Verdict{Gate: GateOf(s, f)}
	if !s.State.Final() || s.Project != "" && f.Tracking == nil {
		v.Pending = true
		return v
	}
	for _, j := range s.Jobs {
		if j.State != StateSucceeded {
			v.Reasons = append(v.Reasons, fmt.Sprintf("the job of plugin %s is %s", j.Plugin, j.State))
		}
	}
	if len(v.Reasons) == 0 && s.State != StateSucceeded {
		v.Reasons = append(v.Reasons, fmt.Sprintf("the scan is %s", s.State))
	}
	if s.NothingScanned() {
		v.Reasons = append(v.Reasons, "nothing was scanned: no plugin had anything to look at")
	}
	if f.Tracking != nil && f.Tracking.Untracked > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("the project is full: %d findings were not compared with those before", f.Tracking.Untracked))
	}
	what := "findings"
	if v.Gate.NewOnly {
		what = "new findings"
	}
	for _, severity := range Severities() {
		if n := f.Against.Of(severity); n > 0 && v.Gate.FailOn != "" && severity.AtLeast(v.Gate.FailOn) {
			v.Reasons = append(v.Reasons, fmt.Sprintf("%d %s of severity %s", n, what, severity))
		}
	}
	v.Passed = len(v.Reasons) == 0
	return v
}
