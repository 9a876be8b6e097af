package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerDiff(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "diff-scan", Method: http.MethodGet, Path: "/scans/{id}/diff",
		Summary: "What changed from another scan of its project", Tags: []string{"findings"}, Security: security(),
		Description: "Counts, and the findings that are in one of the two only. Something is absent only if its plugin saw the whole of the same target in this scan. 409 until both were compared.",
		Errors:      []int{http.StatusConflict},
	}, a.diffScan)
}

type diffInput struct {
	ID   string `path:"id" doc:"Id of the scan."`
	Base string `query:"base" format:"uuid" doc:"Id of the scan to compare with; left out: the project's newest before it."`
}

type diffOutput struct{ Body client.Diff }

func (a *API) diffScan(ctx context.Context, in *diffInput) (*diffOutput, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	d, err := a.deps.Store.Diff(ctx, recordOf(ctx).tenant, id, host.ScanID(in.Base))
	if errors.Is(err, host.ErrConflict) {
		a.deps.Untracked()
		p := problemOf(err, nil)
		p.Detail = "There is nothing to compare: one of the scans has not ended or was not looked at yet, has no project or another one, or is the first of its project."
		return nil, p
	}
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &diffOutput{client.Diff{BaseScanID: string(d.Base), ScanID: string(d.Scan), New: d.New, Unchanged: d.Unchanged, Updated: d.Updated, Absent: d.Absent, Items: []client.DiffItem{}}}
	for _, item := range d.Items {
		out.Body.Items = append(out.Body.Items, client.DiffItem{State: string(item.State), Finding: wireProjectFinding(item.Finding)})
	}
	return out, nil
}
