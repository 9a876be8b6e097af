package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

// maxBOM bounds the documents of one report together: reading them takes some
// ten times that, for one report at a time.
const maxBOM = 16 << 20

func kindNoBOM() kind {
	return kind{404, "no_cyclonedx", "No CycloneDX document", "No job of this scan made one. A plugin such as dependencies does."}
}

// cycloneDX is the report of a scan that has ended. It is made before the answer
// begins, so that what is no whole document is a problem and no document.
func (a *API) cycloneDX(ctx context.Context, s host.Scan) (*bytes.Buffer, error) {
	scan := wireScan(s)
	kept, err := a.keptBOMs(ctx, s, scan)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	select {
	case a.merging <- struct{}{}:
		defer func() { <-a.merging }()
	case <-ctx.Done():
		return nil, problemOf(ctx.Err(), nil)
	}
	boms := make([]export.BOM, len(kept))
	for i, f := range kept {
		raw, err := a.readArtifact(ctx, f)
		if err != nil {
			return nil, problemOf(err, nil)
		}
		boms[i] = export.BOM{Plugin: f.Plugin, JSON: raw}
	}
	doc := &bytes.Buffer{}
	if err := export.WriteCycloneDX(doc, scan, a.cfg.Version, boms); err != nil {
		if errors.Is(err, host.ErrConflict) {
			return nil, conflict(strings.TrimSuffix(err.Error(), ": "+host.ErrConflict.Error()))
		}
		return nil, problemOf(err, nil)
	}
	return doc, nil
}

func (a *API) sendCycloneDX(ctx huma.Context, s host.Scan, doc *bytes.Buffer) {
	_, w := humamux.Unwrap(ctx)
	download(w.Header(), export.CycloneDX.MediaType(), "securetag-"+string(s.ID)+".cdx.json")
	w.WriteHeader(http.StatusOK)
	out := &paced{w: w, deadlines: http.NewResponseController(w)}
	_, err := doc.WriteTo(out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // so that nobody takes a part for all of it
	}
}

// keptBOMs are the documents of jobs that did not fail. No document of a scan
// that may have had one is told from a scan that has none.
func (a *API) keptBOMs(ctx context.Context, s host.Scan, scan client.Scan) ([]host.Artifact, error) {
	if !s.State.Final() {
		return nil, conflict("The scan has not ended, so what it has of components may not be all. Ask again when it has.")
	}
	all, err := a.deps.Store.Artifacts(ctx, s.TenantID, s.ID)
	if err != nil {
		return nil, err
	}
	ended := map[string]client.State{}
	var without []string
	for _, j := range scan.Jobs {
		ended[j.Plugin] = j.State
		if j.State != client.StateSucceeded && j.State != client.StatePartial {
			without = append(without, j.Plugin+" "+string(j.State))
		}
	}
	var kept []host.Artifact
	var size int64
	for _, f := range all {
		if f.MediaType != export.CycloneDXMedia || ended[f.Plugin] != client.StateSucceeded && ended[f.Plugin] != client.StatePartial {
			continue
		}
		kept = append(kept, f)
		size += f.Size
	}
	switch {
	case len(kept) == 0 && len(without) > 0:
		return nil, conflict("There is no CycloneDX document, and a job that may have made one did not succeed: " + strings.Join(without, ", ") + ".")
	case len(kept) == 0:
		return nil, &problemError{Problem: kindNoBOM().problem("")}
	case size > maxBOM:
		return nil, conflict(fmt.Sprintf("The CycloneDX documents of this scan are larger than %d bytes together. Download them as artifacts, one by one.", maxBOM))
	}
	return kept, nil
}

func conflict(detail string) *problemError {
	p := problemOf(host.ErrConflict, nil)
	p.Detail = detail
	return p
}

func (a *API) readArtifact(ctx context.Context, f host.Artifact) ([]byte, error) {
	blob, err := a.deps.Blobs.Open(ctx, f.Blob)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	raw, err := io.ReadAll(io.LimitReader(blob, maxBOM+1))
	if err == nil && int64(len(raw)) != f.Size {
		err = fmt.Errorf("artifact %s has %d bytes and not %d", f.ID, len(raw), f.Size)
	}
	return raw, err
}
