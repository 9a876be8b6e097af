package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerProjects(doc huma.API) {
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description,
			Tags: []string{"projects"}, Security: security(), BodyReadTimeout: -1} // body.go has its own
	}
	huma.Register(doc, op("list-projects", http.MethodGet, "/projects", "List projects, by name",
		"A project is there from the end of its first scan, or since it was made."), a.listProjects)
	create := op("create-project", http.MethodPost, "/projects", "Make a project before its first scan", "")
	create.DefaultStatus = http.StatusCreated
	huma.Register(doc, create, a.createProject)
	huma.Register(doc, op("get-project", http.MethodGet, "/projects/{project}", "A project and its gate", ""), a.getProject)
	huma.Register(doc, op("set-project", http.MethodPatch, "/projects/{project}", "Change a project's gate",
		"Needs If-Match: 428 without, 412 when the project has changed since. It holds for scans that are looked at from then on, those that have ended too."), a.setProject)
	huma.Register(doc, op("list-project-findings", http.MethodGet, "/projects/{project}/findings", "Findings of a project, worst first",
		"Each is there once, whatever number of scans saw it. A page looks at 2,000 findings at most: with filters that fit few it may be short, or empty, and not be the last. Only the one without next_page_token is."),
		a.listProjectFindings)
}

// NamedProject is a project in a path, as NamedTenant is a tenant.
type NamedProject struct {
	Project string `path:"project" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"Name of the project."`
}

type projectOutput struct {
	ETag string `header:"ETag" doc:"Version of the gate, for If-Match."`
	Body client.Project
}

type newProjectOutput struct {
	Location string `header:"Location" doc:"Where the project is."`
	ETag     string `header:"ETag" doc:"Version of the gate, for If-Match."`
	Body     client.Project
}

func answerProject(p host.Project) *projectOutput {
	return &projectOutput{ETag: etag(p.Version), Body: wireProject(p)}
}

func wireProject(p host.Project) client.Project {
	return client.Project{Name: p.Name, Gate: wireGate(p.Gate), Version: p.Version, Findings: p.Findings,
		CreatedAt: p.CreatedAt.UTC(), LastScanID: string(p.LastScan), LastScanAt: wireTime(p.LastAt)}
}

// projectProblem says which of the things that can be missing is.
func projectProblem(err error, at pointerFunc) *problemError {
	p := problemOf(err, at)
	if errors.Is(err, host.ErrNotFound) {
		p.Detail = "There is no project with this name. It is there from the end of its first scan, or once it is made."
	}
	return p
}

type projectsInput struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Projects a page."`
	PageToken string `query:"page_token" maxLength:"256" doc:"next_page_token of the page before."`
}

type projectsOutput struct{ Body client.Page[client.Project] }

func (a *API) listProjects(ctx context.Context, in *projectsInput) (*projectsOutput, error) {
	tenant := recordOf(ctx).tenant
	scope, after := []string{string(tenant), "projects"}, ""
	if in.PageToken != "" {
		cursor, ok := a.tokens.open(scope, in.PageToken)
		if !ok {
			return nil, badToken()
		}
		after = string(cursor)
	}
	all, err := a.deps.Store.Projects(ctx, tenant, after, in.Limit+1)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &projectsOutput{}
	out.Body.Items = []client.Project{}
	if len(all) > in.Limit {
		all = all[:in.Limit]
		out.Body.NextPageToken = a.tokens.seal(scope, []byte(all[in.Limit-1].Name))
	}
	for _, p := range all {
		out.Body.Items = append(out.Body.Items, wireProject(p))
	}
	return out, nil
}

func (a *API) getProject(ctx context.Context, in *NamedProject) (*projectOutput, error) {
	p, err := a.deps.Store.Project(ctx, recordOf(ctx).tenant, in.Project)
	if err != nil {
		return nil, projectProblem(err, nil)
	}
	return answerProject(p), nil
}

type createProjectInput struct {
	Body struct {
		Name string            `json:"name" pattern:"^[A-Za-z0-9_-]{1,64}$"`
		Gate client.GatePolicy `json:"gate,omitempty" doc:"What its scans are held to; left out: nothing."`
	}
}

func (a *API) createProject(ctx context.Context, in *createProjectInput) (*newProjectOutput, error) {
	g, err := gateOf(in.Body.Gate)
	if err != nil {
		return nil, problemOf(err, inBody)
	}
	aboutGate(ctx, in.Body.Name, g)
	p, err := a.deps.Store.SetProject(ctx, recordOf(ctx).tenant, in.Body.Name, 0, g)
	if errors.Is(err, host.ErrConflict) {
		known := problemOf(err, nil)
		known.Detail = "There is a project with this name already."
		return nil, known
	}
	if err != nil {
		return nil, problemOf(err, inBody)
	}
	return &newProjectOutput{"/projects/" + p.Name, etag(p.Version), wireProject(p)}, nil
}

// aboutGate says for the audit log what a project's scans are held to from now on.
func aboutGate(ctx context.Context, project string, g host.Gate) {
	what := "no gate"
	if g.FailOn != "" {
		what = "gate " + string(g.FailOn)
	}
	if g.NewOnly {
		what += ", new only"
	}
	recordOf(ctx).about("project " + project + ", " + what)
}

type setProjectInput struct {
	NamedProject
	IfMatch string `header:"If-Match" maxLength:"64" doc:"ETag of the project that the change is based on, or *."`
	Body    struct {
		Gate client.GatePolicy `json:"gate" doc:"What its scans are held to; empty: nothing."`
	}
}

func (a *API) setProject(ctx context.Context, in *setProjectInput) (*projectOutput, error) {
	tenant := recordOf(ctx).tenant
	p, err := a.deps.Store.Project(ctx, tenant, in.Project)
	if err != nil {
		return nil, projectProblem(err, nil)
	}
	version, err := matched(in.IfMatch)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	g, err := gateOf(in.Body.Gate)
	if err != nil {
		return nil, problemOf(err, inBody)
	}
	if version == 0 {
		version = p.Version
	}
	aboutGate(ctx, in.Project, g)
	if p, err = a.deps.Store.SetProject(ctx, tenant, in.Project, version, g); err != nil {
		return nil, projectProblem(err, inBody)
	}
	return answerProject(p), nil
}

type projectFindingsInput struct {
	NamedProject
	State     string `query:"state" enum:"new,unchanged,updated,absent" doc:"How the newest scan found it."`
	Severity  string `query:"severity" enum:"critical,high,medium,low,info,unknown" doc:"Only of this severity."`
	Triage    string `query:"triage" enum:"open,confirmed,false_positive,accepted_risk,fixed" doc:"What people say of it. What has expired is open."`
	Plugin    string `query:"plugin" maxLength:"64" doc:"Only of this plugin."`
	Rule      string `query:"rule" maxLength:"256" doc:"Only of this rule."`
	Path      string `query:"path" maxLength:"400" doc:"How the path or the URL begins."`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"Findings a page."`
	PageToken string `query:"page_token" maxLength:"256" doc:"next_page_token of the page before, with the same filters."`
}

type projectFindingsOutput struct {
	Body client.Page[client.ProjectFinding]
}

func (a *API) listProjectFindings(ctx context.Context, in *projectFindingsInput) (*projectFindingsOutput, error) {
	tenant := recordOf(ctx).tenant
	scope := []string{string(tenant), "project-findings", in.Project, in.State, in.Severity, in.Triage, in.Plugin, in.Rule, in.Path}
	q := host.ProjectFindingQuery{State: host.Baseline(in.State), Severity: host.Severity(in.Severity), Triage: host.Triage(in.Triage),
		Plugin: in.Plugin, Rule: in.Rule, Path: in.Path, Limit: in.Limit}
	if len(in.Path) > host.MaxPathPrefix { // huma counts characters
		p := &problemError{Problem: kindInvalid().problem("The path has more than 400 bytes.")}
		p.Errors = []client.ProblemError{{Pointer: "query.path", Detail: p.Detail}}
		return nil, p
	}
	if in.PageToken != "" {
		var last *host.FindingCursor
		cursor, ok := a.tokens.open(scope, in.PageToken)
		if ok {
			last, ok = readFindingCursor(cursor)
		}
		if !ok {
			return nil, badToken()
		}
		q.After = &host.ProjectFindingCursor{Rank: last.Rank, ID: host.ProjectFindingID(last.ID)}
	}
	page, err := a.deps.Store.ProjectFindings(ctx, tenant, in.Project, q)
	if err != nil {
		return nil, projectProblem(err, nil)
	}
	out := &projectFindingsOutput{}
	out.Body.Items = []client.ProjectFinding{}
	for _, f := range page.Items {
		out.Body.Items = append(out.Body.Items, wireProjectFinding(f))
	}
	if n := page.Next; n != nil {
		out.Body.NextPageToken = a.tokens.seal(scope, findingCursor(host.Finding{ID: host.FindingID(n.ID), Severity: host.Severities()[n.Rank]}))
	}
	return out, nil
}
