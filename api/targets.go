package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/permission"
)

func (a *API) registerTargets(doc huma.API) {
	op := func(id, method, path, summary, description string, status int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, DefaultStatus: status,
			Tags: []string{"targets"}, Security: security(), BodyReadTimeout: -1} // body.go has its own
	}
	huma.Register(doc, op("list-targets", http.MethodGet, "/targets", "List targets, by host", "", http.StatusOK), a.listTargets)
	huma.Register(doc, op("create-target", http.MethodPost, "/targets", "Say that a host is yours, to have it scanned",
		fmt.Sprintf("The answer says what to publish, and where. A tenant has at most %d.", host.MaxTargets), http.StatusCreated), a.createTarget)
	huma.Register(doc, op("get-target", http.MethodGet, "/targets/{id}", "A target, and how its proof stands", "", http.StatusOK), a.getTarget)
	huma.Register(doc, op("verify-target", http.MethodPost, "/targets/{id}/verify", "Look for a target's token now",
		"That it is not there is an answer as well: proven is false, and problem says what was found instead.", http.StatusOK), a.verifyTarget)
	huma.Register(doc, op("delete-target", http.MethodDelete, "/targets/{id}", "Remove a target, and its proof with it",
		"Scans of it that have not started do not start.", http.StatusNoContent), a.deleteTarget)
}

// NamedTarget is a target in a path.
type NamedTarget struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the target."`
}

type targetsOutput struct{ Body client.Page[client.Target] }

type targetOutput struct{ Body client.Target }

type newTargetOutput struct {
	Location string `header:"Location" doc:"Where the target is."`
	Body     client.Target
}

// wireTarget is a target as the API shows it.
func (a *API) wireTarget(t host.Target) client.Target {
	out := client.Target{
		ID: string(t.ID), Host: t.Host, Token: t.Token, Proof: string(t.Proof), ProvenAt: wireTime(t.ProvenAt), CheckedAt: wireTime(t.CheckedAt),
		Problem: t.Fault, CreatedAt: t.CreatedAt.UTC(),
		DNS:  client.TargetDNS{Name: permission.RecordName(t.Host), Type: "TXT", Value: t.Token},
		File: client.TargetFile{URL: permission.FileURL(t.Host), Content: t.Token},
	}
	if a.deps.Targets != nil {
		ends := a.deps.Targets.Expires(t)
		out.ExpiresAt, out.Proven = wireTime(ends), time.Now().Before(ends)
	}
	return out
}

func (a *API) listTargets(ctx context.Context, _ *struct{}) (*targetsOutput, error) {
	all, err := a.deps.Store.Targets(ctx, recordOf(ctx).tenant)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &targetsOutput{}
	out.Body.Items = []client.Target{}
	for _, t := range all {
		out.Body.Items = append(out.Body.Items, a.wireTarget(t))
	}
	return out, nil
}

func (a *API) createTarget(ctx context.Context, in *struct {
	Body struct {
		Host string `json:"host" minLength:"1" maxLength:"300" doc:"A name, alone or with a port that is not 80 or 443; no URL." example:"shop.example.com"`
	}
}) (*newTargetOutput, error) {
	name, err := permission.ParseHost(in.Body.Host)
	if err != nil {
		return nil, invalidBody("host", "The host "+err.Error()+".")
	}
	t := host.Target{ID: host.NewTargetID(), TenantID: recordOf(ctx).tenant, Host: name, Token: permission.NewToken()}
	recordOf(ctx).about("target " + string(t.ID))
	made, err := a.deps.Store.CreateTarget(ctx, t)
	if err != nil {
		p := targetProblem(err)
		switch {
		case errors.Is(err, host.ErrConflict):
			p.Detail = fmt.Sprintf("Your tenant has a target of %s already: GET /targets shows it with its token.", name)
		case errors.Is(err, host.ErrOverQuota):
			p.Detail = fmt.Sprintf("Your tenant has %d targets, which is the most there can be. Delete one that is not needed any more.", host.MaxTargets)
		}
		return nil, p
	}
	return &newTargetOutput{"/targets/" + string(t.ID), a.wireTarget(made)}, nil
}

// target reads an id from a path, which is what the request is about.
func target(ctx context.Context, in NamedTarget) (host.TenantID, host.TargetID, error) {
	id, err := host.ParseID[host.TargetID](in.ID)
	if err != nil {
		return "", "", targetProblem(err)
	}
	recordOf(ctx).about("target " + string(id))
	return recordOf(ctx).tenant, id, nil
}

func (a *API) getTarget(ctx context.Context, in *NamedTarget) (*targetOutput, error) {
	t, id, err := target(ctx, *in)
	if err != nil {
		return nil, err
	}
	got, err := a.deps.Store.Target(ctx, t, id)
	if err != nil {
		return nil, targetProblem(err)
	}
	return &targetOutput{a.wireTarget(got)}, nil
}

func (a *API) verifyTarget(ctx context.Context, in *NamedTarget) (*targetOutput, error) {
	t, id, err := target(ctx, *in)
	if err != nil {
		return nil, err
	}
	if a.deps.Targets == nil {
		return nil, problemOf(host.ErrUnavailable, nil)
	}
	got, err := a.deps.Targets.Verify(ctx, t, id)
	if err != nil {
		return nil, targetProblem(err)
	}
	return &targetOutput{a.wireTarget(got)}, nil
}

func (a *API) deleteTarget(ctx context.Context, in *NamedTarget) (*struct{}, error) {
	t, id, err := target(ctx, *in)
	if err != nil {
		return nil, err
	}
	if err := a.deps.Store.DeleteTarget(ctx, t, id); err != nil {
		return nil, targetProblem(err)
	}
	return nil, nil //nolint:nilnil // no content
}

func targetProblem(err error) *problemError {
	p := problemOf(err, nil)
	if errors.Is(err, host.ErrNotFound) {
		p.Detail = "Your tenant has no target with this id."
	}
	return p
}
