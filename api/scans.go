package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// pollAfter is how many seconds a client should wait before it asks again.
const pollAfter = "1"

type scanOutput struct {
	Location   string `header:"Location" doc:"Where the scan is."`
	Replayed   string `header:"Idempotency-Replayed" enum:"true" doc:"The same request was accepted before; this is the answer that it had."`
	Applied    string `header:"Preference-Applied" doc:"What was done of Prefer." example:"wait=10"`
	RetryAfter string `header:"Retry-After" doc:"Seconds after which asking again makes sense; left out when the scan has ended and, if it has a project, was compared with those before."`
	Body       client.Scan
}

func answerScan(s host.Scan) *scanOutput {
	out := &scanOutput{Location: "/scans/" + string(s.ID), Body: wireScan(s)}
	if !s.State.Final() {
		out.RetryAfter = pollAfter
	}
	return out
}

// answerAccepted answers what came of a request for a scan.
func (a *API) answerAccepted(ctx context.Context, s host.Scan, err error, p prefer, at pointerFunc) (*scanOutput, error) {
	var replayed *intake.Replayed
	if errors.As(err, &replayed) {
		s, err = replayed.Scan, nil
	}
	if err != nil {
		return nil, problemOf(err, at)
	}
	// It is accepted, whatever becomes of the wait.
	waited, applied, err := a.await(ctx, s, string(p))
	if err == nil {
		s = waited
	}
	out := a.answerChanged(ctx, s)
	out.Applied = applied
	if replayed != nil {
		out.Replayed = "true"
	}
	return out, nil
}

// answerChanged is answerScan with what the gate says, for what is done already:
// where nobody can say, the client is to ask again.
func (a *API) answerChanged(ctx context.Context, s host.Scan) *scanOutput {
	out := answerScan(s)
	if err := a.judge(ctx, s, out); err != nil {
		a.log.Warn("an answer says nothing of the gate", "scan", s.ID, "error", err)
		out.RetryAfter = pollAfter
	}
	return out
}

func (a *API) registerScans(doc huma.API) {
	for _, name := range a.typeNames(host.InputURL, "web") {
		huma.Register(doc, huma.Operation{
			OperationID: "start-" + name, Method: http.MethodPost, Path: "/scans/" + name,
			Summary:       "Scan a URL",
			Description:   "Accepts a scan of type " + name + ". Poll the scan at Location until its state is final.",
			Tags:          []string{"scans"},
			DefaultStatus: http.StatusAccepted, Security: security(),
			Metadata:        map[string]any{creates: true},
			BodyReadTimeout: -1, // body.go has its own
		}, a.startURL(name))
		a.documentOptions(doc.OpenAPI().Paths["/scans/"+name].Post.RequestBody, name)
	}
	huma.Register(doc, huma.Operation{
		OperationID: "list-scans", Method: http.MethodGet, Path: "/scans",
		Summary: "List scans, newest first", Tags: []string{"scans"}, Security: security(),
	}, a.listScans)
	huma.Register(doc, huma.Operation{
		OperationID: "get-scan", Method: http.MethodGet, Path: "/scans/{id}",
		Summary: "A scan, its jobs and how far they are", Tags: []string{"scans"}, Security: security(),
	}, a.getScan)
	huma.Register(doc, huma.Operation{
		OperationID: "list-findings", Method: http.MethodGet, Path: "/scans/{id}/findings",
		Summary: "Findings of the jobs that delivered, worst first", Tags: []string{"findings"}, Security: security(),
	}, a.listFindings)
	huma.Register(doc, huma.Operation{
		OperationID: "cancel-scan", Method: http.MethodPost, Path: "/scans/{id}/cancel",
		Summary:       "Ask a scan to end",
		Description:   "Queued jobs end at once, running ones when their plugin stopped. Asking again changes nothing.",
		DefaultStatus: http.StatusAccepted, Tags: []string{"scans"}, Security: security(),
	}, a.cancelScan)
}

// typeNames lists the scan types that take this input. The built-in one has a
// route even where the operator did not declare it, which then says so.
func (a *API) typeNames(kind host.InputKind, builtin string) []string {
	names := []string{builtin}
	for _, t := range a.deps.Intake.Types() {
		if t.Input == kind && !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// object is a JSON object whose members are checked elsewhere.
type object json.RawMessage

func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

func (o *object) UnmarshalJSON(b []byte) error {
	*o = slices.Clone(b)
	return nil
}

func (o object) MarshalJSON() ([]byte, error) { return o, nil }

type startInput struct {
	Key    onceKey `header:"Idempotency-Key"`
	Prefer prefer  `header:"Prefer"`
	Body   struct {
		URL      string `json:"url" maxLength:"2048" doc:"http or https, without user name and password." example:"https://shop.example.com/"`
		Project  string `json:"project,omitempty" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"The line of scans that this one belongs to."`
		Priority string `json:"priority,omitempty" enum:"high,normal,low" doc:"Which of your own scans go first. Default: normal."`
		Options  object `json:"options,omitempty" doc:"By name the options of the scan type, and by plugin name an object for that plugin: at most 16 KiB, nested at most 8 deep."`
		Secrets  object `json:"secrets,omitempty" writeOnly:"true" doc:"By name the options that nobody is shown, such as headers and cookies of the web scanner: at most 16 KiB, nested at most 8 deep. They are sealed, and removed when the scan has ended."`

		Gate *client.GatePolicy `json:"gate,omitempty" doc:"What the scan is held to instead of its project's gate."`
	}
}

func (a *API) startURL(name string) func(context.Context, *startInput) (*scanOutput, error) {
	return func(ctx context.Context, in *startInput) (*scanOutput, error) {
		if err := a.refuseWhileDraining(); err != nil {
			return nil, err
		}
		req := intake.Request{
			Tenant: recordOf(ctx).tenant, Plan: recordOf(ctx).plan, Type: name,
			Project: in.Body.Project, Priority: host.Priority(in.Body.Priority), Options: json.RawMessage(in.Body.Options),
			Secrets: json.RawMessage(in.Body.Secrets),
			Key:     in.Key.of("/scans/" + name),
		}
		if in.Body.Gate != nil {
			g, err := gateOf(*in.Body.Gate)
			if err != nil {
				return nil, problemOf(err, inBody)
			}
			req.Gate = &g
		}
		s, err := a.deps.Intake.AcceptURL(ctx, req, in.Body.URL)
		return a.answerAccepted(ctx, s, err, in.Prefer, inBody)
	}
}

type scanInput struct {
	ID string `path:"id" doc:"Id of the scan."`
}

type getScanInput struct {
	ID     string `path:"id" doc:"Id of the scan."`
	Prefer prefer `header:"Prefer"`
}

func (a *API) getScan(ctx context.Context, in *getScanInput) (*scanOutput, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	s, err := a.deps.Store.Scan(ctx, recordOf(ctx).tenant, id)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	s, applied, err := a.await(ctx, s, string(in.Prefer))
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := answerScan(s)
	out.Location, out.Applied = "", applied
	if err := a.judge(ctx, s, out); err != nil {
		return nil, problemOf(err, nil)
	}
	return out, nil
}

func (a *API) cancelScan(ctx context.Context, in *scanInput) (*scanOutput, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	s, err := a.deps.Store.Cancel(ctx, recordOf(ctx).tenant, id)
	if errors.Is(err, host.ErrConflict) {
		p := problemOf(err, nil)
		p.Detail = "The scan has already ended in another way."
		return nil, p
	}
	if err != nil {
		return nil, problemOf(err, nil)
	}
	if a.deps.Canceled != nil {
		a.deps.Canceled(s)
	}
	return a.answerChanged(ctx, s), nil
}

type scansInput struct {
	Type      string `query:"type" maxLength:"63" doc:"Only of this scan type."`
	Project   string `query:"project" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"Only of this project."`
	State     string `query:"state" enum:"queued,running,succeeded,partial,failed,canceled,timed_out" doc:"Only in this state."`
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Scans a page."`
	PageToken string `query:"page_token" maxLength:"256" doc:"next_page_token of the page before, with the same filters."`
}

type scansOutput struct{ Body client.Page[client.Scan] }

func (a *API) listScans(ctx context.Context, in *scansInput) (*scansOutput, error) {
	tenant := recordOf(ctx).tenant
	scope := []string{string(tenant), "scans", in.Type, in.Project, in.State}
	// One more than asked for says whether there is another page.
	q := host.ScanQuery{Type: in.Type, Project: in.Project, State: host.State(in.State), Limit: in.Limit + 1}
	if in.PageToken != "" {
		cursor, ok := a.tokens.open(scope, in.PageToken)
		if ok {
			q.After, ok = readScanCursor(cursor)
		}
		if !ok {
			return nil, badToken()
		}
	}
	scans, err := a.deps.Store.Scans(ctx, tenant, q)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &scansOutput{}
	out.Body.Items = []client.Scan{}
	if len(scans) > in.Limit {
		scans = scans[:in.Limit]
		out.Body.NextPageToken = a.tokens.seal(scope, scanCursor(scans[in.Limit-1].ID))
	}
	for _, s := range scans {
		out.Body.Items = append(out.Body.Items, wireScan(s))
	}
	return out, nil
}

type findingsInput struct {
	ID        string `path:"id" doc:"Id of the scan."`
	Severity  string `query:"severity" enum:"critical,high,medium,low,info,unknown" doc:"Only of this severity."`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"Findings a page."`
	PageToken string `query:"page_token" maxLength:"256" doc:"next_page_token of the page before, with the same filters."`
}

type findingsOutput struct{ Body client.Page[client.Finding] }

func (a *API) listFindings(ctx context.Context, in *findingsInput) (*findingsOutput, error) {
	tenant := recordOf(ctx).tenant
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	scope := []string{string(tenant), "findings", in.ID, in.Severity}
	q := host.FindingQuery{Severity: host.Severity(in.Severity), Limit: in.Limit + 1}
	if in.PageToken != "" {
		cursor, ok := a.tokens.open(scope, in.PageToken)
		if ok {
			q.After, ok = readFindingCursor(cursor)
		}
		if !ok {
			return nil, badToken()
		}
	}
	findings, err := a.deps.Store.Findings(ctx, tenant, id, q)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &findingsOutput{}
	out.Body.Items = []client.Finding{}
	if len(findings) > in.Limit {
		findings = findings[:in.Limit]
		out.Body.NextPageToken = a.tokens.seal(scope, findingCursor(findings[in.Limit-1]))
	}
	for _, f := range findings {
		out.Body.Items = append(out.Body.Items, wireFinding(f))
	}
	return out, nil
}

func badToken() error {
	const detail = "This page token was not made for this list and these filters. Begin again without one."
	p := &problemError{Problem: kindInvalid().problem(detail)}
	p.Errors = []client.ProblemError{{Pointer: "query.page_token", Detail: detail}}
	return p
}
