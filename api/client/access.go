package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Tenant is who is isolated from whom, as operators see it.
type Tenant struct {
	ID              string     `json:"id" format:"uuid"`
	Name            string     `json:"name"`
	Plan            string     `json:"plan,omitempty" doc:"Left out: the default plan."`
	CreatedAt       time.Time  `json:"created_at"`
	SuspendedAt     *time.Time `json:"suspended_at,omitempty" doc:"Since then its keys are refused and none of its jobs start."`
	SuspendedReason string     `json:"suspended_reason,omitempty"`
	DeletedAt       *time.Time `json:"deleted_at,omitempty" doc:"Since then its data is being removed; when all is gone, so is the tenant."`
}

// APIKey is a key without its secret.
type APIKey struct {
	ID         string     `json:"id" format:"uuid"`
	Name       string     `json:"name"`
	Prefix     string     `json:"prefix" doc:"The first characters, to recognise it."`
	Scopes     []string   `json:"scopes" doc:"What it may do."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"To the minute."`
}

// NewAPIKey is a key that was made just now.
type NewAPIKey struct {
	APIKey
	Secret string `json:"secret" doc:"The key itself. It is shown only this once."`
}

// KeyRequest says what key to make.
type KeyRequest struct {
	Name             string   `json:"name,omitempty" maxLength:"100" doc:"What to call it, to recognise it in the list."`
	Scopes           []string `json:"scopes,omitempty" maxItems:"10" doc:"What it may do: scan:write, scan:read, finding:write, webhook:write, admin. Default: all but the last two."`
	ExpiresInSeconds int64    `json:"expires_in_seconds,omitempty" minimum:"0" maximum:"3153600000" doc:"How long it is valid; 0: until revoked."`
}

// AuditLine is a thing that was done below /admin or by the command line, or
// somebody who was refused.
type AuditLine struct {
	ID      string    `json:"id" format:"uuid"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor" doc:"operator, command or address."`
	Name    string    `json:"name" doc:"Which one: of the operator's key, of the system's user, the address."`
	Action  string    `json:"action" doc:"The operation's id in this document, or the command."`
	Target  string    `json:"target,omitempty" doc:"What it was done to."`
	Outcome string    `json:"outcome" doc:"done, or the code of the problem."`
	Source  string    `json:"source,omitempty" doc:"The address it came from."`
	Request string    `json:"request_id,omitempty"`
	Times   int       `json:"times" doc:"How often, within a minute."`
}

func tenantPath(name string) string { return "/admin/tenants/" + url.PathEscape(name) }

// Tenants gives one page, by name.
func (c *Client) Tenants(ctx context.Context, most int, token string) (Page[Tenant], error) {
	var p Page[Tenant]
	_, err := c.get(ctx, "/admin/tenants", values("limit", limit(most), "page_token", token), &p)
	return p, err
}

// Tenant gives one.
func (c *Client) Tenant(ctx context.Context, name string) (Tenant, error) {
	var t Tenant
	_, err := c.get(ctx, tenantPath(name), nil, &t)
	return t, err
}

// CreateTenant makes one.
func (c *Client) CreateTenant(ctx context.Context, name, plan string) (Tenant, error) {
	var t Tenant
	err := c.postJSON(ctx, "/admin/tenants", struct {
		Name string `json:"name"`
		Plan string `json:"plan,omitempty"`
	}{name, plan}, &t)
	return t, err
}

// UpdateTenant gives it another plan; "" is the default one.
func (c *Client) UpdateTenant(ctx context.Context, name, plan string) (Tenant, error) {
	var t Tenant
	err := c.sendJSON(ctx, http.MethodPatch, tenantPath(name), struct {
		Plan string `json:"plan"`
	}{plan}, &t)
	return t, err
}

// SuspendTenant refuses its keys and starts none of its jobs.
func (c *Client) SuspendTenant(ctx context.Context, name, reason string) (Tenant, error) {
	var t Tenant
	err := c.postJSON(ctx, tenantPath(name)+"/suspend", struct {
		Reason string `json:"reason,omitempty"`
	}{reason}, &t)
	return t, err
}

// ResumeTenant takes that back.
func (c *Client) ResumeTenant(ctx context.Context, name string) (Tenant, error) {
	var t Tenant
	err := c.postJSON(ctx, tenantPath(name)+"/resume", nil, &t)
	return t, err
}

// DeleteTenant begins to remove a tenant with all that is its. It is gone when
// Tenant answers 404.
func (c *Client) DeleteTenant(ctx context.Context, name string) error {
	_, err := c.send(ctx, request{method: http.MethodDelete, path: tenantPath(name)}, nil)
	return err
}

// keysPath is of a tenant's keys for operators, or of one's own for "".
func keysPath(tenant string) string {
	if tenant == "" {
		return "/keys"
	}
	return tenantPath(tenant) + "/keys"
}

// Keys lists the keys of a tenant, revoked ones included. Tenant "" is the one
// of the client's own key, which needs the scope admin then; so it is below.
func (c *Client) Keys(ctx context.Context, tenant string) ([]APIKey, error) {
	var p Page[APIKey]
	_, err := c.get(ctx, keysPath(tenant), nil, &p)
	return p.Items, err
}

// CreateKey makes a key. Its secret is in the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, tenant string, k KeyRequest) (NewAPIKey, error) {
	var out NewAPIKey
	err := c.postJSON(ctx, keysPath(tenant), k, &out)
	return out, err
}

// RotateKey makes a key that may do what an old one may, which ends overlap from
// now.
func (c *Client) RotateKey(ctx context.Context, tenant, id string, overlap time.Duration) (NewAPIKey, error) {
	var out NewAPIKey
	err := c.postJSON(ctx, keysPath(tenant)+"/"+url.PathEscape(id)+"/rotate", struct {
		Overlap int64 `json:"overlap_seconds"`
	}{int64(overlap / time.Second)}, &out)
	return out, err
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, tenant, id string) error {
	_, err := c.send(ctx, request{method: http.MethodDelete, path: keysPath(tenant) + "/" + url.PathEscape(id)}, nil)
	return err
}

// AuditQuery asks for lines of the audit log.
type AuditQuery struct {
	Action, Actor string
	Limit         int
	PageToken     string
}

// Audit gives one page of the audit log, newest first.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (Page[AuditLine], error) {
	var p Page[AuditLine]
	_, err := c.get(ctx, "/admin/audit", values("action", q.Action, "actor", q.Actor, "limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}
