package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// auditTime bounds the writing of one line, which may outlive its request.
const auditTime = 5 * time.Second

// audited reports whether what an operation did is in the audit log: all that
// changes something below /admin, all that is done to keys and to where word of
// scans is sent, all that takes the scope admin, and scans that were deleted,
// gates that were set and targets, by a key of which there may be many: not its attempts.
func audited(op *huma.Operation, rec *record) bool {
	switch op.OperationID {
	case "delete-scan", "create-project", "set-project", "create-target", "verify-target", "delete-target":
		return rec.code == ""
	}
	scope := scopeOf(op)
	return op.Method != http.MethodGet && (op.Metadata[forOperators] != nil || scope == host.ScopeAdmin || scope == host.ScopeWebhookWrite)
}

// audit adds a line for what a request did, or tried to. It does not hold the
// answer up for good: what was done cannot be undone for want of a line, so that
// it is missing is an error in the log.
func (a *API) audit(ctx context.Context, op *huma.Operation, rec *record) {
	l := host.AuditLine{ID: host.NewAuditID(), Actor: host.ActorOperator, Name: rec.operatorName, Action: op.OperationID,
		Target: rec.target, Outcome: "done", Source: addressOf(rec), Request: rec.id}
	if rec.operator == "" {
		l.Actor, l.Name = host.ActorKey, string(rec.key)
	}
	if rec.code != "" {
		l.Outcome = rec.code
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime)
	defer cancel()
	if err := a.deps.Store.AppendAudit(ctx, []host.AuditLine{l}); err != nil {
		a.log.Error("a line is missing in the audit log", "actor", l.Actor, "name", l.Name, "action", l.Action, "target", l.Target,
			"outcome", l.Outcome, "request", l.Request, "error", err)
	}
}

// about says what a request is about, for the audit log.
func (r *record) about(what string) {
	if r.target != "" {
		r.target += ", "
	}
	r.target += what
}

func addressOf(rec *record) string {
	if !rec.client.IsValid() {
		return ""
	}
	return rec.client.String()
}

const (
	// refusalTime is how long refused requests are gathered before they are
	// lines of the audit log.
	refusalTime = time.Minute
	// maxRefusals is how many addresses get a line of their own in that time;
	// the rest share one, so that nobody can fill the log.
	maxRefusals = 100
	// elsewhere is the address of that line.
	elsewhere = "other addresses"
)

// refusal is what is gathered: where from, and below what.
type refusal struct{ address, action string }

// refusals gathers refused authentications.
type refusals struct {
	mu  sync.Mutex
	all map[refusal]int
}

// note counts one.
func (r *refusals) note(from netip.Addr, op *huma.Operation) {
	what := refusal{"unknown", "authenticate"}
	if from.IsValid() {
		what.address = neighbours(from)
	}
	if op.Metadata[forOperators] != nil {
		what.action = "authenticate as operator"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[refusal]int{}
	}
	if _, ok := r.all[what]; !ok && len(r.all) >= maxRefusals {
		what.address = elsewhere
	}
	r.all[what]++
}

// take gives what was gathered as lines, and begins anew.
func (r *refusals) take() (lines []host.AuditLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, n := range r.all {
		lines = append(lines, host.AuditLine{ID: host.NewAuditID(), Actor: host.ActorAddress, Name: what.address, Action: what.action,
			Outcome: "unauthorized", Source: what.address, Times: n})
	}
	r.all = nil
	return lines
}

// Run writes down who was refused, each minute and at the end, until ctx ends.
// What a crash leaves unwritten is lost; it is in the log of requests.
func (a *API) Run(ctx context.Context) error {
	tick := time.NewTicker(refusalTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.writeRefusals(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			a.writeRefusals(ctx)
		}
	}
}

func (a *API) writeRefusals(ctx context.Context) {
	lines := a.refused.take()
	if len(lines) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	if err := a.deps.Store.AppendAudit(ctx, lines); err != nil {
		a.log.Error("refused requests are missing in the audit log", "lines", len(lines), "error", err)
	}
}

// refuse is what becomes of a request whose key is not good. Whoever is refused
// again and again is slowed down by where it comes from; a good key from the
// same address never comes here.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, op *huma.Operation, rec *record, err error) error {
	if !errors.Is(problemCause(err), host.ErrUnauthorized) {
		return err
	}
	a.refused.note(rec.client, op)
	if !rec.client.IsValid() {
		return err
	}
	aside := header{http.Header{}}
	slow := a.limit(aside, r, policyRefused, neighbours(rec.client), refusedRate())
	if slow == nil {
		return err // and the header goes on saying how the address stands
	}
	maps.Copy(w.Header(), aside.of)
	return slow
}

// header is a ResponseWriter of which only the header is used.
type header struct{ of http.Header }

func (h header) Header() http.Header       { return h.of }
func (header) Write(p []byte) (int, error) { return len(p), nil }
func (header) WriteHeader(int)             {}

// problemCause is what a problem that is written already was made of.
func problemCause(err error) error {
	var p *problemError
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		return host.ErrUnauthorized
	}
	return err
}

// policyRefused is that of requests of an address whose key is not good.
const policyRefused = "refused"

// refusedRate allows a person to mistype and a program to be told so, and a
// guesser nothing: keys have 256 random bits.
func refusedRate() host.Rate { return host.Rate{Count: 30, Per: time.Minute} }

func (a *API) registerAudit(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/admin/audit", Summary: "The audit log, newest first",
		Description: "What was done below /admin and by the command line, what was done to keys and webhooks, which scans were deleted and which gates set, and who was refused: those of an address within a minute are one line. " +
			"Lines are never changed, and kept for a year.",
		Tags: []string{"admin"}, Security: operatorSecurity(), Metadata: map[string]any{forOperators: true},
	}, a.listAudit)
}

type auditInput struct {
	Action    string `query:"action" maxLength:"100" doc:"Only this."`
	Actor     string `query:"actor" enum:"operator,key,command,address" doc:"Only of these."`
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Lines a page."`
	PageToken string `query:"page_token" maxLength:"512" doc:"next_page_token of the page before, with the same filters."`
}

type auditOutput struct{ Body client.Page[client.AuditLine] }

func (a *API) listAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	scope := []string{"operator", "audit", in.Action, in.Actor}
	q := host.AuditQuery{Action: in.Action, Actor: in.Actor, Limit: in.Limit + 1}
	if in.PageToken != "" {
		raw, ok := a.tokens.open(scope, in.PageToken)
		id, err := uuid.FromBytes(raw)
		if !ok || err != nil {
			return nil, badToken()
		}
		q.After = host.AuditID(id.String())
	}
	lines, err := a.deps.Store.Audit(ctx, q)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &auditOutput{}
	out.Body.Items = []client.AuditLine{}
	if len(lines) > in.Limit {
		lines = lines[:in.Limit]
		last := uuid.MustParse(string(lines[in.Limit-1].ID))
		out.Body.NextPageToken = a.tokens.seal(scope, last[:])
	}
	for _, l := range lines {
		out.Body.Items = append(out.Body.Items, AuditLineOf(l))
	}
	return out, nil
}

// AuditLineOf is a line as operators see it.
func AuditLineOf(l host.AuditLine) client.AuditLine {
	return client.AuditLine{ID: string(l.ID), At: l.At, Actor: l.Actor, Name: l.Name, Action: l.Action,
		Target: l.Target, Outcome: l.Outcome, Source: l.Source, Request: l.Request, Times: l.Times}
}
