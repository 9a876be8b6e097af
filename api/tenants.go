package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerTenants(doc huma.API) {
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"admin"},
			Security: operatorSecurity(), Metadata: map[string]any{forOperators: true}, BodyReadTimeout: -1} // body.go has its own
	}
	huma.Register(doc, op("list-tenants", http.MethodGet, "/admin/tenants", "List tenants by name", ""), a.listTenants)
	create := op("create-tenant", http.MethodPost, "/admin/tenants", "Make a tenant", "")
	create.DefaultStatus = http.StatusCreated
	huma.Register(doc, create, a.createTenant)
	huma.Register(doc, op("get-tenant", http.MethodGet, "/admin/tenants/{name}", "A tenant", ""), a.getTenant)
	huma.Register(doc, op("update-tenant", http.MethodPatch, "/admin/tenants/{name}", "Give a tenant another plan", "What is different for this tenant stays."), a.updateTenant)
	huma.Register(doc, op("suspend-tenant", http.MethodPost, "/admin/tenants/{name}/suspend", "Suspend a tenant",
		"Its keys are refused and none of its jobs start; running ones end by themselves. Asking again changes only the reason."), a.suspendTenant)
	huma.Register(doc, op("resume-tenant", http.MethodPost, "/admin/tenants/{name}/resume", "Take a suspension back", ""), a.resumeTenant)
	remove := op("delete-tenant", http.MethodDelete, "/admin/tenants/{name}", "Delete a tenant with all that is its",
		"Its keys end at once, its scans are canceled, and its data goes bit by bit. The tenant answers 404 when all is gone. It cannot be undone.")
	remove.DefaultStatus = http.StatusAccepted
	huma.Register(doc, remove, a.deleteTenant)
	a.registerKeys(doc, op)
}

// TenantOf is a tenant as operators see it.
func TenantOf(t host.Tenant) client.Tenant {
	return client.Tenant{ID: string(t.ID), Name: t.Name, Plan: t.Terms.Plan, CreatedAt: t.CreatedAt,
		SuspendedAt: when(t.Suspended.At), SuspendedReason: t.Suspended.Reason, DeletedAt: when(t.DeletedAt)}
}

// when is nil for the zero time.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type tenantsInput struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Tenants a page."`
	PageToken string `query:"page_token" maxLength:"512" doc:"next_page_token of the page before."`
}

type tenantsOutput struct{ Body client.Page[client.Tenant] }

func (a *API) listTenants(ctx context.Context, in *tenantsInput) (*tenantsOutput, error) {
	scope := []string{"operator", "tenants"}
	after := ""
	if in.PageToken != "" {
		raw, ok := a.tokens.open(scope, in.PageToken)
		if !ok {
			return nil, badToken()
		}
		after = string(raw)
	}
	// There are few enough to read all: the command line does too.
	all, err := a.deps.Store.Tenants(ctx)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	first, _ := slices.BinarySearchFunc(all, after+"\x00", func(t host.Tenant, name string) int { return strings.Compare(t.Name, name) })
	if after == "" {
		first = 0
	}
	page := all[first:]
	out := &tenantsOutput{}
	out.Body.Items = []client.Tenant{}
	if len(page) > in.Limit {
		page = page[:in.Limit]
		out.Body.NextPageToken = a.tokens.seal(scope, []byte(page[in.Limit-1].Name))
	}
	for _, t := range page {
		out.Body.Items = append(out.Body.Items, TenantOf(t))
	}
	return out, nil
}

// NamedTenant is a tenant in a path; huma fills embedded structs only when they
// are exported.
type NamedTenant struct {
	Name string `path:"name" maxLength:"63" doc:"The tenant's name."`
}

type tenantOutput struct{ Body client.Tenant }

// placedTenant says where the tenant is that was made, or is on its way out.
type placedTenant struct {
	Location string `header:"Location" doc:"Where the tenant is."`
	Body     client.Tenant
}

func placed(out *tenantOutput, err error) (*placedTenant, error) {
	if err != nil {
		return nil, err
	}
	return &placedTenant{"/admin/tenants/" + out.Body.Name, out.Body}, nil
}

// byName finds a tenant; the audit log says that the request was about it.
func (a *API) byName(ctx context.Context, name string) (host.Tenant, error) {
	recordOf(ctx).target = "tenant " + name
	t, err := a.deps.Store.TenantByName(ctx, name)
	if err == nil {
		return t, nil
	}
	p := problemOf(err, nil)
	if errors.Is(err, host.ErrNotFound) {
		p.Detail = "There is no tenant of this name. GET /admin/tenants lists them."
	}
	return host.Tenant{}, p
}

func (a *API) getTenant(ctx context.Context, in *NamedTenant) (*tenantOutput, error) {
	t, err := a.byName(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &tenantOutput{TenantOf(t)}, nil
}

type createTenantInput struct {
	Body struct {
		Name string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63" doc:"Lower-case letters, digits and -."`
		Plan string `json:"plan,omitempty" maxLength:"63" doc:"Its name in the configuration. Default: the default plan."`
	}
}

func (a *API) createTenant(ctx context.Context, in *createTenantInput) (*placedTenant, error) {
	recordOf(ctx).target = "tenant " + in.Body.Name
	if err := a.checkPlan(in.Body.Plan); err != nil {
		return nil, err
	}
	t := host.Tenant{ID: host.NewTenantID(), Name: in.Body.Name, Terms: host.Terms{Plan: in.Body.Plan}}
	if err := a.deps.Store.CreateTenant(ctx, t); err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrConflict) {
			p.Detail = "There is a tenant of this name already."
		}
		return nil, p
	}
	return placed(a.getTenant(ctx, &NamedTenant{in.Body.Name}))
}

// changeTenant does something to a tenant and shows it then.
func (a *API) changeTenant(ctx context.Context, name string, change func(host.Tenant) error) (*tenantOutput, error) {
	t, err := a.byName(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := change(t); err != nil {
		p := problemOf(err, nil)
		if errors.Is(err, host.ErrConflict) {
			p.Detail = "The tenant is being deleted, which cannot be undone."
		}
		return nil, p
	}
	return a.getTenant(ctx, &NamedTenant{name})
}

type updateTenantInput struct {
	NamedTenant
	Body struct {
		Plan string `json:"plan" maxLength:"63" doc:"Its name in the configuration; empty: the default plan."`
	}
}

func (a *API) updateTenant(ctx context.Context, in *updateTenantInput) (*tenantOutput, error) {
	return a.changeTenant(ctx, in.Name, func(t host.Tenant) error {
		if err := a.checkPlan(in.Body.Plan); err != nil {
			return err
		}
		t.Terms.Plan = in.Body.Plan
		return a.deps.Store.SetTerms(ctx, t.ID, t.Terms)
	})
}

// checkPlan refuses a plan that the configuration of this host does not have.
func (a *API) checkPlan(name string) error {
	var unknown *host.UnknownPlan
	err := a.deps.Plans.Check(name)
	if !errors.As(err, &unknown) {
		return err
	}
	p := problemOf(err, nil)
	p.Detail = "T" + strings.TrimPrefix(unknown.Error(), "t") + "."
	p.Errors = []client.ProblemError{{Pointer: inBody("plan"), Detail: p.Detail}}
	return p
}

type suspendInput struct {
	NamedTenant
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"One line for people."`
	}
}

func (a *API) suspendTenant(ctx context.Context, in *suspendInput) (*tenantOutput, error) {
	return a.changeTenant(ctx, in.Name, func(t host.Tenant) error { return a.deps.Store.Suspend(ctx, t.ID, in.Body.Reason) })
}

func (a *API) resumeTenant(ctx context.Context, in *NamedTenant) (*tenantOutput, error) {
	out, err := a.changeTenant(ctx, in.Name, func(t host.Tenant) error { return a.deps.Store.Unsuspend(ctx, t.ID) })
	if err == nil && a.deps.Control.Wake != nil {
		a.deps.Control.Wake()
	}
	return out, err
}

func (a *API) deleteTenant(ctx context.Context, in *NamedTenant) (*placedTenant, error) {
	return placed(a.changeTenant(ctx, in.Name, func(t host.Tenant) error {
		if err := a.deps.Store.DeleteTenant(ctx, t.ID); err != nil {
			return fmt.Errorf("delete tenant %s: %w", t.Name, err)
		}
		return nil
	}))
}
