package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// judge adds to a scan's answer what its gate says and how its findings stand to
// those before.
func (a *API) judge(ctx context.Context, s host.Scan, out *scanOutput) error {
	if s.Project == "" && s.Gate == nil {
		return nil
	}
	var facts host.GateFacts
	if s.State.Final() || s.Gate == nil { // what goes on is held to something already
		var err error
		if facts, err = a.deps.Store.GateFacts(ctx, s); err != nil {
			return err
		}
	}
	switch {
	case !s.State.Final():
		facts.Tracking = nil // of an end that was taken back
	case s.Project != "" && facts.Tracking == nil:
		a.deps.Untracked()
		out.RetryAfter = pollAfter
	}
	if t := facts.Tracking; t != nil {
		out.Body.Baseline = &client.Baseline{BaseScanID: string(t.Base), New: t.New, Unchanged: t.Unchanged, Updated: t.Updated, Absent: t.Absent, Untracked: t.Untracked}
	}
	if v := host.Judge(s, facts); v.Gate.FailOn != "" {
		out.Body.Gate = wireVerdict(v)
	}
	return nil
}

func wireVerdict(v host.Verdict) *client.Gate {
	g := &client.Gate{GatePolicy: wireGate(v.Gate), State: "failed", Passed: v.Passed, Reasons: v.Reasons}
	switch {
	case v.Pending:
		g.State = "pending"
	case v.Passed:
		g.State = "passed"
	}
	return g
}

func wireGate(g host.Gate) client.GatePolicy {
	return client.GatePolicy{FailOn: string(g.FailOn), NewOnly: g.NewOnly}
}

func gateOf(p client.GatePolicy) (host.Gate, error) {
	g := host.Gate{FailOn: host.Severity(p.FailOn), NewOnly: p.NewOnly}
	if g.Check() != nil {
		return g, badField("", "gate", "A gate names the severity to fail on (critical, high, medium, low, info or unknown), and new_only needs one.")
	}
	return g, nil
}

// parseGate reads the form's field.
func parseGate(raw string) (*host.Gate, error) {
	var p *client.GatePolicy
	d := json.NewDecoder(strings.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	if _, more := d.Token(); err != nil || p == nil || !errors.Is(more, io.EOF) { // null would open the project's gate
		return nil, badField("", "gate", `The gate is no JSON object such as {"fail_on": "high", "new_only": true}.`)
	}
	g, err := gateOf(*p)
	return &g, err
}

// unconditional marks an operation that does without If-Match: it is older than
// the versions of what it changes.
const unconditional = "unconditional"

// matched reads If-Match, which a change must have: 0 is any version. What an
// ETag has behind the version is of the rest of an answer.
func matched(header string) (int, error) {
	if header == "*" {
		return 0, nil
	}
	if header == "" {
		return 0, &problemError{Problem: kind{428, "precondition_required", "Precondition required",
			"This needs If-Match with the ETag of what the change is based on, so that nobody else's is lost."}.problem("")}
	}
	version, _, _ := strings.Cut(strings.TrimSuffix(header, `"`), ".")
	n, err := strconv.Atoi(strings.TrimPrefix(version, `"`))
	if err != nil || n < 1 || version+`"` != etag(n) {
		return 0, host.ErrStale
	}
	return n, nil
}

func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }
