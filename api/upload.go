package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// What an upload may hold beside the archive.
const (
	maxParts      = 6         // file, project, priority, options, secrets, gate
	maxOverhead   = 128 << 10 // bytes: fields, part headers, boundaries
	maxEpilogue   = 4 << 10   // bytes behind the last boundary
	maxProjectLen = 64
	maxPriority   = 16 // bytes
	maxGate       = 256
)

// uploadInput takes the raw request: huma would read the body into memory or
// spool it to files that nobody removes.
type uploadInput struct {
	Key    onceKey `header:"Idempotency-Key"`
	Prefer prefer  `header:"Prefer"`
	r      *http.Request
}

// Resolve is called by huma before the handler.
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	in.r, _ = humamux.Unwrap(ctx)
	return nil
}

func (a *API) registerUploads(doc huma.API) {
	urls := a.typeNames(host.InputURL, "web")
	for _, name := range a.typeNames(host.InputArchive, "codeaudit") {
		if name == ImportType { // its archives are made of what its own route takes
			continue
		}
		a.registerUpload(doc, "upload-"+name, "/"+name+"/upload", name)
		if !slices.Contains(urls, name) { // one that is built in has its address, whatever the operator made of it
			a.registerUpload(doc, "start-"+name, "/scans/"+name, name)
		}
	}
}

func (a *API) registerUpload(doc huma.API, id, path, name string) {
	huma.Register(doc, huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path,
		Summary: "Scan an uploaded archive",
		Description: "Accepts a scan of type " + name + ": zip, tar, tar.gz or tar.zst, recognised by content. " +
			"Poll the scan at Location until its state is final.",
		Tags:          []string{"scans"},
		DefaultStatus: http.StatusAccepted, Security: security(),
		Metadata: map[string]any{streamed: true, creates: true},
	}, a.upload(path, name))
	// Set only now: with a body in the operation huma would read it whole.
	gate := doc.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.GatePolicy](), true, "GatePolicy")
	doc.OpenAPI().Paths[path].Post.RequestBody = uploadBody(a.deps.Intake.MaxArchive(), a.optionsSchema(name), gate)
}

// uploadBody documents the form.
func uploadBody(maxArchive int64, options, gate *huma.Schema) *huma.RequestBody {
	maxProject, required := maxProjectLen, []string{"file"}
	if _, ok := options.Extensions["required"]; ok {
		required = append(required, "options")
	}
	return &huma.RequestBody{
		Required: true,
		Content: map[string]*huma.MediaType{"multipart/form-data": {
			Schema: &huma.Schema{
				Type: huma.TypeObject, Required: required, AdditionalProperties: false,
				Properties: map[string]*huma.Schema{
					"file":     {Type: huma.TypeString, Format: "binary", Description: fmt.Sprintf("The archive, at most %d bytes.", maxArchive)},
					"project":  {Type: huma.TypeString, Pattern: intake.ProjectPattern, MaxLength: &maxProject, Description: "The line of scans that this one belongs to."},
					"priority": {Type: huma.TypeString, Enum: []any{"high", "normal", "low"}, Description: "Which of your own scans go first. Default: normal."},
					"options":  options,
					"secrets":  secretsSchema(),
					"gate":     {Ref: gate.Ref, Description: "JSON, what the scan is held to instead of its project's gate."},
				},
			},
			Encoding: map[string]*huma.Encoding{
				"options": {ContentType: "application/json"}, "secrets": {ContentType: "application/json"}, "gate": {ContentType: "application/json"},
			},
		}},
	}
}

func (a *API) upload(path, name string) func(context.Context, *uploadInput) (*scanOutput, error) {
	return func(ctx context.Context, in *uploadInput) (*scanOutput, error) {
		if err := a.refuseWhileDraining(); err != nil {
			return nil, err
		}
		if err := a.deps.Intake.Admit(name, host.InputArchive); err != nil {
			return nil, problemOf(err, inForm)
		}
		rec := recordOf(ctx)
		key := in.Key.of(path)
		bounds, err := a.roomFor(ctx, rec, key, in.r.ContentLength-maxOverhead)
		if err != nil {
			return nil, problemOf(err, inForm)
		}
		f, err := a.readForm(ctx, in.r, name, bounds)
		if err != nil {
			f.staged.Discard(ctx)
			return nil, problemOf(err, inForm)
		}
		req := intake.Request{
			Tenant: rec.tenant, Plan: rec.plan, Type: name, Project: f.project, Priority: f.priority,
			Options: f.options, Secrets: f.secrets, Gate: f.gate, Key: key,
		}
		s, err := a.deps.Intake.AcceptArchive(ctx, req, f.staged)
		return a.answerAccepted(ctx, s, err, in.Prefer, inForm)
	}
}

// form is what an upload says.
type form struct {
	scanType string
	bounds   intake.Bounds
	staged   *intake.Staged
	project  string
	priority host.Priority
	options  json.RawMessage
	secrets  json.RawMessage
	gate     *host.Gate
	seen     map[string]bool
}

// readForm reads the parts in whatever order they come. The form is returned
// with an error too, since it may hold a staged archive.
func (a *API) readForm(ctx context.Context, r *http.Request, scanType string, b intake.Bounds) (*form, error) {
	f := &form{scanType: scanType, bounds: b, seen: map[string]bool{}}
	most := a.deps.Intake.MaxArchive()
	if b.Archive > 0 {
		most = min(most, b.Archive)
	}
	if r.ContentLength > most+maxOverhead {
		return f, intake.TooLarge(most)
	}
	boundary, err := boundaryOf(r.Header.Get("Content-Type"))
	if err != nil {
		return f, err
	}
	src := &budget{r: r.Body, left: maxOverhead}
	mr := multipart.NewReader(src, boundary)
	for {
		// Raw: a transfer encoding must not change the archive's bytes.
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return f, formError(err)
		}
		if err := a.readPart(ctx, f, part, src); err != nil {
			return f, err
		}
	}
	n, err := io.CopyN(io.Discard, r.Body, maxEpilogue)
	if errors.Is(err, errDigest) {
		return f, err
	}
	if err == nil || !errors.Is(err, io.EOF) {
		return f, malformed("The form goes on behind its last boundary (%d bytes were read).", n)
	}
	if f.staged == nil {
		return f, badField("", "file", "The form has no part named file.")
	}
	return f, nil
}

func boundaryOf(contentType string) (string, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" {
		return "", &problemError{
			Problem: problemOf(errMediaType, nil).Problem,
			header:  http.Header{"Accept": {"multipart/form-data"}},
		}
	}
	if b := params["boundary"]; b != "" && len(b) <= 70 { // RFC 2046
		return b, nil
	}
	return "", malformed("The content type names no boundary of 1 to 70 characters.")
}

func (a *API) readPart(ctx context.Context, f *form, part *multipart.Part, src *budget) (err error) {
	name := part.FormName()
	switch {
	case f.seen[name]:
		return badField("", name, fmt.Sprintf("The form has more than one part named %.32q.", name))
	case len(f.seen) == maxParts:
		return badField("", "", fmt.Sprintf("The form has more than %d parts.", maxParts))
	}
	f.seen[name] = true
	switch name {
	case "file":
		// One byte more than allowed must get through to be refused by name,
		// and the reader looks ahead for the boundary.
		room := a.deps.Intake.MaxArchive() + 1
		src.allow(room)
		left := src.left - room
		f.staged, err = a.deps.Intake.StageWithin(ctx, f.bounds, part.FileName(), partReader{part})
		src.left = min(src.left, left)
		return err
	case "project":
		if f.project, err = readField(part, name, maxProjectLen); err != nil {
			return err
		}
		return intake.CheckProject(f.project)
	case "priority":
		raw, err := readField(part, name, maxPriority)
		if err != nil {
			return err
		}
		f.priority = host.Priority(raw)
		return intake.CheckPriority(f.priority)
	case "options", "secrets", "gate":
		return a.readObject(ctx, f, part, name)
	default:
		return badField("unknown_part", "", fmt.Sprintf("The form has a part named %.32q; known are file, project, priority, options, secrets and gate.", name))
	}
}

// readObject reads a part that is JSON, and checks it before the archive comes.
func (a *API) readObject(ctx context.Context, f *form, part *multipart.Part, name string) error {
	limit := int64(intake.MaxOptions)
	if name == "gate" {
		limit = maxGate
	}
	raw, err := readField(part, name, limit)
	if err != nil {
		return err
	}
	switch name {
	case "options":
		// As it was given: by that a request is known again, and defaults may change.
		f.options = json.RawMessage(raw)
		if _, err = a.deps.Intake.CheckOptions(f.scanType, f.options); err == nil {
			err = a.deps.Intake.CheckSecrets(ctx, f.scanType, f.options, nil)
		}
	case "secrets":
		f.secrets = json.RawMessage(raw)
		err = a.deps.Intake.CheckSecrets(ctx, f.scanType, nil, f.secrets)
	case "gate":
		f.gate, err = parseGate(raw)
	}
	return err
}

// readField reads a small part whole.
func readField(part *multipart.Part, name string, limit int64) (string, error) {
	b, err := io.ReadAll(io.LimitReader(partReader{part}, limit+1))
	if err != nil {
		return "", err
	}
	if int64(len(b)) > limit {
		return "", badField("", name, fmt.Sprintf("The part is larger than %d bytes.", limit))
	}
	return string(b), nil
}

// partReader says what an error of a part means, so that nobody below takes it
// for a fault of the blob store.
type partReader struct{ r io.Reader }

func (p partReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = formError(err)
	}
	return n, err
}

// formError keeps what body and budget said, and calls the rest malformed.
func formError(err error) error {
	for _, known := range []error{errTooSlow, errDigest, host.ErrTooLarge, host.ErrOverQuota, context.Canceled} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &problemError{
		Problem: kindMalformed().problem("The form is cut off, or is not well-formed multipart/form-data."),
		cause:   err,
	}
}

func malformed(format string, args ...any) error {
	return &problemError{Problem: kindMalformed().problem(fmt.Sprintf(format, args...))}
}

func badField(code, field, detail string) error {
	return &intake.Refusal{Code: code, Field: field, Detail: detail, Err: host.ErrInvalid}
}
