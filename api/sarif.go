package api

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

const (
	// ImportType is the scan type that reads reports of scanners that ran
	// elsewhere. Its archives are made here, of what its one route takes, and
	// nobody uploads any.
	ImportType = "import"
	// importedReport is the one file of such an archive, as its plugin knows it.
	importedReport = "report.sarif"
)

// importInput takes the raw request, as uploadInput does.
type importInput struct {
	NamedProject
	Key    onceKey `header:"Idempotency-Key"`
	Prefer prefer  `header:"Prefer"`
	r      *http.Request
}

// Resolve is called by huma before the handler.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.r, _ = humamux.Unwrap(ctx)
	return nil
}

func (a *API) registerImports(doc huma.API) {
	const path = "/projects/{project}/sarif"
	huma.Register(doc, huma.Operation{
		OperationID: "import-sarif", Method: http.MethodPost, Path: path,
		Summary: "Take in the report of a scanner that ran elsewhere",
		Description: "Accepts a scan of type " + ImportType + " of a SARIF 2.1.0 log, whose results join the project's findings. " +
			"What an earlier report of the same tools had, and this one has not, is absent. " +
			"The project must be there. Poll the scan at Location until its state is final.",
		Tags:          []string{"projects"},
		DefaultStatus: http.StatusAccepted, Security: security(),
		Metadata: map[string]any{streamed: true, creates: true},
	}, a.importSARIF)
	// Set only now: with a body in the operation huma would read it whole.
	doc.OpenAPI().Paths[path].Post.RequestBody = sarifBody()
}

// sarifBody documents what is checked of a log before its scan.
func sarifBody() *huma.RequestBody {
	object := func(name string, s *huma.Schema) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Required: []string{name}, Properties: map[string]*huma.Schema{name: s}}
	}
	one, runs, name := 1, maxRuns, maxToolName
	log := object("runs", &huma.Schema{
		Type: huma.TypeArray, MinItems: &one, MaxItems: &runs,
		Items: object("tool", object("driver", object("name", &huma.Schema{Type: huma.TypeString, MinLength: &one, MaxLength: &name, Description: "What tells one tool's findings from another's. Printable."}))),
	})
	log.Required = append(log.Required, "version")
	log.Properties["version"] = &huma.Schema{Type: huma.TypeString, Enum: []any{"2.1.0"}}
	log.Description = fmt.Sprintf("A SARIF log, at most %d bytes and what your plan allows for an archive, nested at most %d deep.", client.MaxSARIF, maxReportDepth)
	media := &huma.MediaType{Schema: log}
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": media, "application/sarif+json": media}}
}

func (a *API) importSARIF(ctx context.Context, in *importInput) (*scanOutput, error) {
	if err := a.refuseWhileDraining(); err != nil {
		return nil, err
	}
	rec := recordOf(ctx)
	if _, err := a.deps.Store.Project(ctx, rec.tenant, in.Project); err != nil {
		return nil, projectProblem(err, nil)
	}
	if err := a.deps.Intake.Admit(ImportType, host.InputArchive); err != nil {
		return nil, problemOf(err, nil)
	}
	if err := checkSARIFType(in.r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	key := in.Key.of("/projects/" + in.Project + "/sarif")
	bounds, err := a.roomFor(ctx, rec, key, 0) // of what is packed less is kept than was sent
	if err != nil {
		return nil, problemOf(err, nil)
	}
	staged, tools, err := a.stageReport(ctx, in.r, rec, bounds)
	if err != nil {
		staged.Discard(ctx)
		return nil, problemOf(err, inReport)
	}
	options, err := a.importOptions(tools)
	if err != nil {
		staged.Discard(ctx)
		return nil, problemOf(err, nil)
	}
	req := intake.Request{Tenant: rec.tenant, Plan: rec.plan, Type: ImportType, Project: in.Project, Options: options, Key: key}
	s, err := a.deps.Intake.AcceptArchive(ctx, req, staged)
	return a.answerAccepted(ctx, s, err, in.Prefer, nil)
}

// inReport: a refusal of the archive is one of the body, which it was made of.
func inReport(field string) string {
	if field == "file" {
		return "#"
	}
	return inBody(field)
}

func checkSARIFType(contentType string) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err == nil && (media == "application/json" || media == "application/sarif+json") {
		return nil
	}
	return &problemError{
		Problem: problemOf(errMediaType, nil).Problem,
		header:  http.Header{"Accept": {"application/sarif+json, application/json"}},
	}
}

// importOptions name the tools for the plugin, so that what one tool does not
// report says nothing of another's findings: options are part of a scan's scope.
func (a *API) importOptions(tools []string) (json.RawMessage, error) {
	all := map[string]any{}
	for _, t := range a.deps.Intake.Types() {
		for _, plugin := range t.Plugins {
			if t.Name == ImportType {
				all[plugin] = map[string]any{"tools": tools}
			}
		}
	}
	return json.Marshal(all)
}

// stageReport packs the body as it comes, looks at it on the way, and gives the
// names of its tools.
func (a *API) stageReport(ctx context.Context, r *http.Request, rec *record, b intake.Bounds) (*intake.Staged, []string, error) {
	most := min(a.deps.Intake.MaxArchive(), client.MaxSARIF)
	if rec.plan.ArchiveSize > 0 {
		most = min(most, rec.plan.ArchiveSize)
	}
	if r.ContentLength > most {
		return nil, nil, intake.TooLarge(most)
	}
	packed, into := io.Pipe()
	looked := make(chan struct{})
	var tools []string
	var wrong error
	go func() {
		defer close(looked)
		tools, wrong = packReport(into, &budget{r: r.Body, left: most + 1}, most)
		_ = into.CloseWithError(wrong) // always nil
	}()
	staged, err := a.deps.Intake.StageWithin(ctx, b, importedReport, packed)
	_ = packed.CloseWithError(errStaged) // always nil; ends the writer when nobody reads on
	<-looked                             // the body is not read any more
	if wrong != nil && !errors.Is(wrong, errStaged) {
		err = wrong
	}
	return staged, tools, err
}

// errStaged: what came of an archive is known before it was read to its end.
var errStaged = errors.New("the archive is not read any more")

// packReport makes an archive with body as its one file, the same one of the same
// body: by that a request is known again.
func packReport(w io.Writer, body io.Reader, most int64) ([]string, error) {
	z := zip.NewWriter(w)
	file, err := z.Create(importedReport)
	if err != nil {
		return nil, err
	}
	src := &reportReader{r: body, left: most}
	tools, err := lookAtReport(io.TeeReader(src, file))
	if src.err != nil { // what was read until then says nothing
		return nil, src.err
	}
	if err != nil {
		return nil, err
	}
	return tools, z.Close()
}

// reportReader keeps the error of the body apart from those of the log in it.
type reportReader struct {
	r    io.Reader
	left int64
	size int64
	err  error
}

func (r *reportReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.size += int64(n); r.size > r.left {
		err = intake.TooLarge(r.left)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
