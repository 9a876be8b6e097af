package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerTriage(doc huma.API) {
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description,
			Tags: []string{"findings"}, Security: security(), BodyReadTimeout: -1} // body.go has its own
	}
	huma.Register(doc, op("get-finding", http.MethodGet, "/findings/{id}", "A project's finding and what was said of it", ""), a.getFinding)
	huma.Register(doc, op("triage-finding", http.MethodPatch, "/findings/{id}", "Say what a finding is",
		"Needs If-Match: 428 without, 412 when somebody said something since. False positives and accepted risks leave the gate until they expire."), a.triageFinding)
	huma.Register(doc, op("triage-findings", http.MethodPost, "/projects/{project}/findings/triage", "Say the same of several findings",
		"Whatever was said of them before. Ids of which the project has no finding are left out."), a.triageFindings)
}

type findingOutput struct {
	ETag string `header:"ETag" doc:"Version of what was said, for If-Match."`
	Body client.ProjectFinding
}

func wireProjectFinding(f host.ProjectFinding) client.ProjectFinding {
	return client.ProjectFinding{
		ID: string(f.ID), Project: f.Project, State: string(f.State), Finding: wireFinding(f.Finding), Occurrence: f.Occurrence,
		FirstScan: string(f.FirstScan), FirstSeen: f.FirstSeen.UTC(), LastSeen: f.LastSeen.UTC(), Version: f.Version,
		Said: wireSaid(f.Said), TriagedAt: wireTime(f.TriagedAt),
	}
}

func wireSaid(s host.Said) client.Said {
	return client.Said{Triage: string(s.Triage), Reason: s.Reason, Author: s.Author, ExpiresAt: wireTime(s.ExpiresAt)}
}

func answerFinding(f host.ProjectFinding, history []host.SaidThen) *findingOutput {
	out := &findingOutput{ETag: etag(f.Version), Body: wireProjectFinding(f)}
	for _, h := range history {
		out.Body.History = append(out.Body.History, client.SaidThen{Said: wireSaid(h.Said), At: h.At.UTC()})
	}
	return out
}

func findingProblem(err error) *problemError {
	p := problemOf(err, inBody)
	switch {
	case errors.Is(err, host.ErrNotFound):
		p.Detail = "There is no finding with this id."
	case errors.Is(err, host.ErrInvalid):
		text, _, _ := strings.Cut(err.Error(), ": "+host.ErrInvalid.Error())
		if i := strings.LastIndex(text, ": "); i >= 0 {
			text = text[i+2:]
		}
		p.Detail = strings.ToUpper(text[:1]) + text[1:] + "."
	}
	return p
}

// NamedFinding is a finding in a path.
type NamedFinding struct {
	ID string `path:"id" doc:"Id of the project's finding: project_finding_id of a scan's."`
}

func (a *API) getFinding(ctx context.Context, in *NamedFinding) (*findingOutput, error) {
	id, err := host.ParseID[host.ProjectFindingID](in.ID)
	if err != nil {
		return nil, findingProblem(err)
	}
	f, history, err := a.deps.Store.ProjectFinding(ctx, recordOf(ctx).tenant, id)
	if err != nil {
		return nil, findingProblem(err)
	}
	return answerFinding(f, history), nil
}

type triageInput struct {
	NamedFinding
	IfMatch string `header:"If-Match" maxLength:"64" doc:"ETag of the finding that this is based on, or *."`
	Body    *client.Triage
}

func (a *API) triageFinding(ctx context.Context, in *triageInput) (*findingOutput, error) {
	// First whether there is one: what is missing of the request is nobody's
	// business who has none.
	found, err := a.getFinding(ctx, &in.NamedFinding)
	if err != nil {
		return nil, err
	}
	version, err := matched(in.IfMatch)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	if in.Body == nil {
		return nil, malformed("The request has no body: say what the finding is.")
	}
	tenant, id := recordOf(ctx).tenant, host.ProjectFindingID(found.Body.ID)
	if _, err := a.deps.Store.Triage(ctx, tenant, id, version, a.said(ctx, *in.Body)); err != nil {
		return nil, findingProblem(err)
	}
	return a.getFinding(ctx, &in.NamedFinding)
}

// said is what a request says, by its key.
func (a *API) said(ctx context.Context, t client.Triage) host.Said {
	s := host.Said{Triage: host.Triage(t.Triage), Reason: t.Reason, Author: string(recordOf(ctx).key)}
	if t.ExpiresAt != nil {
		s.ExpiresAt = *t.ExpiresAt
	}
	return s
}

type triageManyInput struct {
	NamedProject
	Body client.TriageMany
}

type triagedOutput struct{ Body client.Triaged }

func (a *API) triageFindings(ctx context.Context, in *triageManyInput) (*triagedOutput, error) {
	ids := make([]host.ProjectFindingID, len(in.Body.IDs))
	for i, id := range in.Body.IDs {
		ids[i] = host.ProjectFindingID(id)
	}
	n, err := a.deps.Store.TriageMany(ctx, recordOf(ctx).tenant, in.Project, ids, a.said(ctx, in.Body.Triage))
	if errors.Is(err, host.ErrNotFound) {
		return nil, projectProblem(err, nil)
	}
	if err != nil {
		return nil, findingProblem(err)
	}
	return &triagedOutput{client.Triaged{Triaged: n}}, nil
}
