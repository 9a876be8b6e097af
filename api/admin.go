package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
)

// forOperators marks an operation that takes an operator's key and no other.
const forOperators = "operators"

func (a *API) registerAdmin(doc huma.API) {
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"admin"},
			Security: operatorSecurity(), Metadata: map[string]any{forOperators: true}}
	}
	other := func(op huma.Operation, method, description string) huma.Operation {
		op.Method, op.Description = method, description
		op.BodyReadTimeout = -1 // body.go has its own
		return op
	}
	huma.Register(doc, get("queue-stats", "/admin/queue", "What is in the queue"), a.queueStats)
	huma.Register(doc, get("list-dead-letters", "/admin/queue/dead", "List dead letters, newest first"), a.listDead)
	huma.Register(doc, get("get-dead-letter", "/admin/queue/dead/{id}", "A dead letter and its history"), a.getDead)
	huma.Register(doc, other(get("requeue-dead-letters", "/admin/queue/dead/requeue", "Try dead letters again"), http.MethodPost,
		"Each gets a fresh budget of attempts and time, and its scan is open again until it ends. Its history stays."), a.requeueDead)
	huma.Register(doc, other(get("drop-dead-letters", "/admin/queue/dead/drop", "Give dead letters up"), http.MethodPost,
		"Their jobs stay failed, and cannot be requeued any more."), a.dropDead)
	huma.Register(doc, get("list-pauses", "/admin/queue/pauses", "What is not dispatched"), a.listPauses)
	huma.Register(doc, other(get("pause", "/admin/queue/pauses", "Stop the dispatch of a part of the queue"), http.MethodPost,
		"Scans are still accepted, and what runs goes on. Asking again changes only the reason. It answers with every pause there is."), a.pause)
	resume := other(get("resume", "/admin/queue/pauses", "Take a pause back"), http.MethodDelete, "Other pauses may still cover the same jobs.")
	resume.DefaultStatus = http.StatusNoContent
	huma.Register(doc, resume, a.resume)
	huma.Register(doc, get("get-drain", "/admin/queue/drain", "How far a drain is"), a.getDrain)
	huma.Register(doc, other(get("drain", "/admin/queue/drain", "Pause everything, and say what still runs"), http.MethodPost,
		"Ask until drained; taking the pause of kind all back undoes it."), a.startDrain)
}

type queueOutput struct{ Body client.QueueStats }

func (a *API) queueStats(ctx context.Context, _ *struct{}) (*queueOutput, error) {
	s, err := a.deps.Control.Store.QueueStats(ctx)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	return &queueOutput{QueueStats(s)}, nil
}

type deadListInput struct {
	Plugin    string `query:"plugin" maxLength:"200" doc:"Only of this plugin."`
	ScanType  string `query:"scan_type" maxLength:"200" doc:"Only of scans of this type."`
	Tenant    string `query:"tenant" maxLength:"63" doc:"Only of the tenant of this name."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Dead letters a page."`
	PageToken string `query:"page_token" maxLength:"512" doc:"next_page_token of the page before, with the same filters."`
}

type deadListOutput struct {
	Body client.Page[client.DeadLetter]
}

func (a *API) listDead(ctx context.Context, in *deadListInput) (*deadListOutput, error) {
	q := host.DeadQuery{Plugin: in.Plugin, ScanType: in.ScanType, Tenant: in.Tenant, Limit: in.Limit + 1}
	if in.PageToken != "" {
		if q.After = a.openDead(q, in.PageToken); q.After == nil {
			return nil, badToken()
		}
	}
	dead, err := a.deps.Control.Store.DeadLetters(ctx, q)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &deadListOutput{}
	out.Body.Items = []client.DeadLetter{}
	if len(dead) > in.Limit {
		dead = dead[:in.Limit]
		last := dead[in.Limit-1]
		out.Body.NextPageToken = a.sealDead(q, host.DeadCursor{DeadAt: last.DeadAt, ID: last.Job.ID})
	}
	for _, d := range dead {
		out.Body.Items = append(out.Body.Items, DeadLetter(d))
	}
	return out, nil
}

// sealDead and openDead make page tokens that are good for one filter.
func (a *API) sealDead(q host.DeadQuery, c host.DeadCursor) string {
	return a.tokens.seal(deadScope(q), deadCursor(c))
}

func (a *API) openDead(q host.DeadQuery, token string) *host.DeadCursor {
	raw, ok := a.tokens.open(deadScope(q), token)
	if !ok {
		return nil
	}
	return readDeadCursor(raw)
}

func deadScope(q host.DeadQuery) []string {
	return []string{"operator", "dead", q.Plugin, q.ScanType, q.Tenant}
}

type deadInput struct {
	ID string `path:"id" doc:"Id of the job."`
}

type deadOutput struct{ Body client.DeadLetter }

func (a *API) getDead(ctx context.Context, in *deadInput) (*deadOutput, error) {
	d, err := a.deps.Control.Store.DeadLetter(ctx, host.JobID(in.ID))
	if err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrNotFound) {
			p.Detail = "There is no dead letter with this id: the job was requeued or dropped, or never was one."
		}
		return nil, p
	}
	return &deadOutput{DeadLetter(d)}, nil
}

type settleInput struct{ Body client.Settlement }

type settleOutput struct{ Body client.Settled }

func (a *API) requeueDead(ctx context.Context, in *settleInput) (*settleOutput, error) {
	return a.settle(ctx, in.Body, "requeued dead letters", a.deps.Control.Requeue)
}

func (a *API) dropDead(ctx context.Context, in *settleInput) (*settleOutput, error) {
	return a.settle(ctx, in.Body, "dropped dead letters", a.deps.Control.Drop)
}

// maxSettled is how many dead letters one request settles: in the time of a
// request, and the client can go on.
const maxSettled = 1000

func (a *API) settle(ctx context.Context, in client.Settlement, did string,
	do func(context.Context, control.Selection, int) (control.Result, error)) (*settleOutput, error) {
	if (in.Filter == nil) == (len(in.IDs) == 0) {
		return nil, invalidBody("", "Say which dead letters: either their ids or a filter.")
	}
	if in.Filter == nil && (in.Limit != 0 || in.PageToken != "") {
		return nil, invalidBody("ids", "limit and page_token go with a filter; ids name each one.")
	}
	var s control.Selection
	for _, id := range in.IDs {
		s.Jobs = append(s.Jobs, host.JobID(id))
	}
	if f := in.Filter; f != nil {
		s.Filter = host.DeadQuery{Plugin: f.Plugin, ScanType: f.ScanType, Tenant: f.Tenant}
		if in.PageToken != "" {
			if s.Filter.After = a.openDead(s.Filter, in.PageToken); s.Filter.After == nil {
				return nil, invalidBody("page_token", "This page token was not made for this filter. Begin again without one.")
			}
		}
	}
	most := in.Limit
	if most == 0 {
		most = maxSettled
	}
	r, err := do(ctx, s, most)
	if r.Done > 0 {
		a.log.Info(did, "operator", recordOf(ctx).operator, "jobs", r.Done, "refused", len(r.Refused))
	}
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &settleOutput{Settled(r)}
	if r.Next != nil {
		out.Body.NextPageToken = a.sealDead(s.Filter, *r.Next)
	}
	return out, nil
}

// invalidBody says what is wrong with a body, at a field or as a whole.
func invalidBody(field, detail string) error {
	p := &problemError{Problem: kindInvalid().problem(detail)}
	p.Errors = []client.ProblemError{{Pointer: inBody(field), Detail: detail}}
	return p
}

type pausesOutput struct{ Body client.Page[client.Pause] }

func (a *API) listPauses(ctx context.Context, _ *struct{}) (*pausesOutput, error) {
	all, err := a.deps.Control.Store.Pauses(ctx)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &pausesOutput{}
	out.Body.Items = Pauses(all)
	return out, nil
}

type pauseInput struct {
	Body struct {
		Kind   string `json:"kind" enum:"all,plugin,scan_type" doc:"By what jobs are picked."`
		Name   string `json:"name,omitempty" maxLength:"200" doc:"Of the plugin or the scan type; none with all."`
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"One line for people."`
	}
}

func (a *API) pause(ctx context.Context, in *pauseInput) (*pausesOutput, error) {
	p := host.Pause{Kind: host.PauseKind(in.Body.Kind), Name: in.Body.Name, Reason: in.Body.Reason}
	if !p.Valid() {
		return nil, invalidBody("name", "A pause of a plugin or a scan type needs its name, one of all has none; at most 200 bytes.")
	}
	if err := a.deps.Control.Store.Pause(ctx, p); err != nil {
		return nil, problemOf(err, nil)
	}
	a.log.Info("paused", "operator", recordOf(ctx).operator, "kind", p.Kind, "name", p.Name, "reason", p.Reason)
	return a.listPauses(ctx, nil)
}

type resumeInput struct {
	Kind string `query:"kind" required:"true" enum:"all,plugin,scan_type"`
	Name string `query:"name" maxLength:"200" doc:"Of the plugin or the scan type; none with all."`
}

func (a *API) resume(ctx context.Context, in *resumeInput) (*struct{}, error) {
	err := a.deps.Control.Resume(ctx, host.PauseKind(in.Kind), in.Name)
	if err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrNotFound) {
			p.Detail = "There is no such pause. GET /admin/queue/pauses lists them."
		}
		return nil, p
	}
	a.log.Info("resumed", "operator", recordOf(ctx).operator, "kind", in.Kind, "name", in.Name)
	return nil, nil
}

type drainOutput struct{ Body client.Drain }

func (a *API) getDrain(ctx context.Context, _ *struct{}) (*drainOutput, error) {
	s, err := a.deps.Control.Store.QueueStats(ctx)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	return &drainOutput{Drain(s)}, nil
}

func (a *API) startDrain(ctx context.Context, in *struct{}) (*drainOutput, error) {
	if err := a.deps.Control.Store.Pause(ctx, host.Pause{Kind: host.PauseAll, Reason: "drain"}); err != nil {
		return nil, problemOf(err, nil)
	}
	a.log.Info("draining", "operator", recordOf(ctx).operator)
	return a.getDrain(ctx, in)
}
