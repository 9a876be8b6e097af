package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerDeletions(doc huma.API) {
	const gone = "They are gone for you at once: every route answers 404 for them, and no list has them. " +
		"What runs is canceled. The rows and files are removed in the background; Location says how far that is. It cannot be undone."
	huma.Register(doc, huma.Operation{
		OperationID: "delete-scan", Method: http.MethodDelete, Path: "/scans/{id}",
		Summary: "Delete a scan with all that it found", Description: "The scan, its findings, its artifacts and its archive. " + gone,
		DefaultStatus: http.StatusAccepted, Tags: []string{"scans"}, Security: security(),
	}, a.deleteScan)
	huma.Register(doc, huma.Operation{
		OperationID: "delete-project-scans", Method: http.MethodDelete, Path: "/projects/{project}/scans",
		Summary: "Delete all scans of a project", Description: "All that it has at that moment, as DELETE /scans/{id} does each. " + gone,
		DefaultStatus: http.StatusAccepted, Tags: []string{"scans"}, Security: security(),
	}, a.deleteProjectScans)
	huma.Register(doc, huma.Operation{
		OperationID: "get-deletion", Method: http.MethodGet, Path: "/deletions/{id}",
		Summary: "How far a deletion is", Description: "For a week after it was done; then it is a 404.",
		Tags: []string{"scans"}, Security: security(),
	}, a.getDeletion)
}

type deletionOutput struct {
	Location   string `header:"Location" doc:"Where the deletion is."`
	RetryAfter string `header:"Retry-After" doc:"Seconds after which asking again makes sense; left out when it is done."`
	Body       client.Deletion
}

func answerDeletion(d host.Deletion) *deletionOutput {
	out := &deletionOutput{Location: "/deletions/" + string(d.ID), Body: client.Deletion{
		ID: string(d.ID), State: client.Deleting, ScanID: string(d.Scan), Project: d.Project,
		CreatedAt: d.CreatedAt.UTC(), FinishedAt: when(d.FinishedAt), Scans: d.Scans, Left: d.Left,
	}}
	if d.FinishedAt.IsZero() {
		out.RetryAfter = pollAfter
	} else {
		out.Body.State = client.Deleted
	}
	return out
}

func (a *API) deleteScan(ctx context.Context, in *scanInput) (*deletionOutput, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	recordOf(ctx).about("scan " + in.ID)
	tenant := recordOf(ctx).tenant
	// Canceled first, and not by the sweeper only: the host that runs it hears of
	// it at once.
	switch s, err := a.deps.Store.Cancel(ctx, tenant, id); {
	case errors.Is(err, host.ErrConflict): // it has ended
	case err != nil:
		return nil, problemOf(err, nil)
	case a.deps.Canceled != nil:
		a.deps.Canceled(s)
	}
	d, err := a.deps.Store.DeleteScan(ctx, tenant, id)
	return a.deleted(d, err, "")
}

type projectInput struct {
	Project string `path:"project" maxLength:"64" doc:"The project's name."`
}

func (a *API) deleteProjectScans(ctx context.Context, in *projectInput) (*deletionOutput, error) {
	recordOf(ctx).about("project " + in.Project)
	d, err := a.deps.Store.DeleteProject(ctx, recordOf(ctx).tenant, in.Project)
	return a.deleted(d, err, "You have no scans of a project with this name.")
}

// deleted answers for a deletion that was asked for. missing says that there was
// nothing to delete; "" as other routes do.
func (a *API) deleted(d host.Deletion, err error, missing string) (*deletionOutput, error) {
	if err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrNotFound) && missing != "" {
			p.Detail = missing
		}
		return nil, p
	}
	if a.deps.Deleted != nil {
		a.deps.Deleted()
	}
	return answerDeletion(d), nil
}

type deletionInput struct {
	ID string `path:"id" doc:"Id of the deletion."`
}

func (a *API) getDeletion(ctx context.Context, in *deletionInput) (*deletionOutput, error) {
	id, err := host.ParseID[host.DeletionID](in.ID)
	var d host.Deletion
	if err == nil {
		d, err = a.deps.Store.Deletion(ctx, recordOf(ctx).tenant, id)
	}
	if err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrNotFound) {
			p.Detail = "There is no deletion with this id, or it was done more than a week ago."
		}
		return nil, p
	}
	out := answerDeletion(d)
	out.Location = ""
	return out, nil
}
