package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerArtifacts(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "list-artifacts", Method: http.MethodGet, Path: "/scans/{id}/artifacts",
		Summary: "Files that the jobs produced", Tags: []string{"artifacts"}, Security: security(),
		Description: "By plugin and name; at most 100 of a job. A scan that goes on may have more later.",
	}, a.listArtifacts)
	huma.Register(doc, huma.Operation{
		OperationID: "download-artifact", Method: http.MethodGet, Path: "/scans/{id}/artifacts/{artifact}",
		Summary: "The content of an artifact", Tags: []string{"artifacts"}, Security: security(),
		Description: "Always a download, never shown by a browser: a plugin wrote it, about input that may be hostile.",
		Metadata:    map[string]any{streamed: true},
		Responses: map[string]*huma.Response{"200": {
			Description: "The artifact, byte for byte.",
			Content:     map[string]*huma.MediaType{octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	}, a.downloadArtifact)
}

const octets = "application/octet-stream"

type artifactsOutput struct{ Body client.Page[client.Artifact] }

func (a *API) listArtifacts(ctx context.Context, in *scanInput) (*artifactsOutput, error) {
	all, err := a.artifacts(ctx, in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &artifactsOutput{}
	out.Body.Items = []client.Artifact{}
	for _, f := range all {
		out.Body.Items = append(out.Body.Items, client.Artifact{
			ID: string(f.ID), ScanID: string(f.ScanID), JobID: string(f.JobID), Plugin: f.Plugin,
			Name: f.Name, MediaType: f.MediaType, Size: f.Size, SHA256: f.SHA256, CreatedAt: f.CreatedAt.UTC(),
		})
	}
	return out, nil
}

func (a *API) artifacts(ctx context.Context, scan string) ([]host.Artifact, error) {
	id, err := host.ParseID[host.ScanID](scan)
	if err != nil {
		return nil, err
	}
	return a.deps.Store.Artifacts(ctx, recordOf(ctx).tenant, id)
}

type artifactInput struct {
	ID       string `path:"id" doc:"Id of the scan."`
	Artifact string `path:"artifact" doc:"Id of the artifact."`
}

func (a *API) downloadArtifact(ctx context.Context, in *artifactInput) (*huma.StreamResponse, error) {
	found, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	all, err := a.artifacts(found, in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	for _, f := range all {
		if string(f.ID) != in.Artifact {
			continue
		}
		blob, err := a.deps.Blobs.Open(found, f.Blob)
		if errors.Is(err, host.ErrNotFound) {
			// Retention removes rows first, so this is no ordinary end.
			a.log.Error("the content of an artifact is gone", "scan", f.ScanID, "artifact", f.ID)
		}
		if err != nil {
			return nil, problemOf(err, nil)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) { a.sendArtifact(ctx, f, blob) }}, nil
	}
	return nil, problemOf(host.ErrNotFound, nil)
}

func (a *API) sendArtifact(ctx huma.Context, f host.Artifact, blob host.Blob) {
	defer blob.Close()
	_, w := humamux.Unwrap(ctx)
	h := w.Header()
	download(h, octets, f.Name) // letters, digits and ._+@-
	h.Set("Content-Length", strconv.FormatInt(blob.Size(), 10))
	if sum, err := hex.DecodeString(f.SHA256); err == nil {
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":") // RFC 9530
	}
	w.WriteHeader(http.StatusOK)
	out := &paced{w: w, deadlines: http.NewResponseController(w)}
	_, err := io.Copy(out, blob)
	if err == nil {
		err = out.Flush()
	}
	if err != nil && out.err == nil { // else the client went away
		a.log.Error("an artifact could not be read to its end", "scan", f.ScanID, "artifact", f.ID, "error", err)
		panic(http.ErrAbortHandler) // the length says it is not whole
	}
}
