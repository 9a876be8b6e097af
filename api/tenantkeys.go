package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// registerKeys makes the routes of keys: of any tenant's for operators, and of
// one's own for keys with the scope admin.
func (a *API) registerKeys(doc huma.API, op func(id, method, path, summary, description string) huma.Operation) {
	own := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"keys"},
			Security: security(), BodyReadTimeout: -1} // body.go has its own
	}
	status := func(o huma.Operation, code int) huma.Operation { o.DefaultStatus = code; return o }
	const once = "The key is in the answer, and shown only this once."
	const overlap = "The new key may do what the old one may. The old one ends when the overlap is over. " + once
	const revoked = "Hosts refuse it within a second."

	huma.Register(doc, op("list-keys", http.MethodGet, "/admin/tenants/{name}/keys", "List a tenant's keys", ""), func(ctx context.Context, in *NamedTenant) (*keysOutput, error) {
		t, err := a.byName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return a.listKeys(ctx, t.ID)
	})
	huma.Register(doc, status(op("create-key", http.MethodPost, "/admin/tenants/{name}/keys", "Make a key", once), http.StatusCreated), func(ctx context.Context, in *struct {
		NamedTenant
		Body client.KeyRequest
	}) (*newKeyOutput, error) {
		t, err := a.byName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return a.createKey(ctx, t.ID, in.Body)
	})
	huma.Register(doc, status(op("rotate-key", http.MethodPost, "/admin/tenants/{name}/keys/{id}/rotate", "Replace a key", overlap), http.StatusCreated), func(ctx context.Context, in *struct {
		NamedTenant
		NamedKey
		Body *overlapBody
	}) (*newKeyOutput, error) {
		t, err := a.byName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return a.rotateKey(ctx, t.ID, in.ID, in.Body)
	})
	huma.Register(doc, status(op("revoke-key", http.MethodDelete, "/admin/tenants/{name}/keys/{id}", "Revoke a key", revoked), http.StatusNoContent), func(ctx context.Context, in *struct {
		NamedTenant
		NamedKey
	}) (*struct{}, error) {
		t, err := a.byName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return nil, a.revokeKey(ctx, t.ID, in.ID)
	})

	huma.Register(doc, own("list-own-keys", http.MethodGet, "/keys", "List your tenant's keys", ""), func(ctx context.Context, _ *struct{}) (*keysOutput, error) {
		return a.listKeys(ctx, recordOf(ctx).tenant)
	})
	huma.Register(doc, status(own("create-own-key", http.MethodPost, "/keys", "Make a key", once), http.StatusCreated), func(ctx context.Context, in *struct{ Body client.KeyRequest }) (*newKeyOutput, error) {
		return a.createKey(ctx, recordOf(ctx).tenant, in.Body)
	})
	huma.Register(doc, status(own("rotate-own-key", http.MethodPost, "/keys/{id}/rotate", "Replace a key", overlap), http.StatusCreated), func(ctx context.Context, in *struct {
		NamedKey
		Body *overlapBody
	}) (*newKeyOutput, error) {
		return a.rotateKey(ctx, recordOf(ctx).tenant, in.ID, in.Body)
	})
	huma.Register(doc, status(own("revoke-own-key", http.MethodDelete, "/keys/{id}", "Revoke a key", revoked), http.StatusNoContent), func(ctx context.Context, in *NamedKey) (*struct{}, error) {
		return nil, a.revokeKey(ctx, recordOf(ctx).tenant, in.ID)
	})
}

// NamedKey is a key in a path, as NamedTenant is a tenant.
type NamedKey struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the key."`
}

type overlapBody struct {
	Overlap int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"31536000" doc:"How long the old key stays valid."`
}

type keysOutput struct{ Body client.Page[client.APIKey] }

type newKeyOutput struct{ Body client.NewAPIKey }

// KeyOf is a key without its secret.
func KeyOf(k host.Key) client.APIKey {
	return client.APIKey{ID: string(k.ID), Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes.Names(), CreatedAt: k.CreatedAt,
		ExpiresAt: when(k.ExpiresAt), RevokedAt: when(k.RevokedAt), LastUsedAt: when(k.LastUsedAt)}
}

func (a *API) listKeys(ctx context.Context, t host.TenantID) (*keysOutput, error) {
	all, err := a.deps.Store.Keys(ctx, t)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	out := &keysOutput{}
	out.Body.Items = []client.APIKey{}
	for _, k := range all {
		out.Body.Items = append(out.Body.Items, KeyOf(k))
	}
	return out, nil
}

func (a *API) createKey(ctx context.Context, t host.TenantID, in client.KeyRequest) (*newKeyOutput, error) {
	scopes, err := host.ParseScopes(in.Scopes)
	if err != nil {
		return nil, invalidBody("scopes", "The scopes are "+host.Scopes(host.AllScopes()).String()+".")
	}
	secret, key := apikey.New()
	key.TenantID, key.Name, key.Scopes, key.CreatedAt = t, in.Name, scopes, time.Now().UTC()
	if in.ExpiresInSeconds > 0 {
		key.ExpiresAt = key.CreatedAt.Add(time.Duration(in.ExpiresInSeconds) * time.Second)
	}
	recordOf(ctx).about("key " + string(key.ID))
	if err := a.deps.Store.CreateKey(ctx, key); err != nil {
		return nil, problemOf(err, nil)
	}
	return &newKeyOutput{client.NewAPIKey{APIKey: KeyOf(key), Secret: secret}}, nil
}

func (a *API) rotateKey(ctx context.Context, t host.TenantID, id string, in *overlapBody) (*newKeyOutput, error) {
	old, err := host.ParseID[host.KeyID](id)
	if err != nil {
		return nil, keyProblem(err)
	}
	overlap := time.Duration(0)
	if in != nil {
		overlap = time.Duration(in.Overlap) * time.Second
	}
	secret, next := apikey.New()
	recordOf(ctx).about("key " + string(old) + " by key " + string(next.ID))
	stored, err := a.deps.Store.RotateKey(ctx, t, old, overlap, next)
	if err != nil {
		return nil, keyProblem(err)
	}
	return &newKeyOutput{client.NewAPIKey{APIKey: KeyOf(stored), Secret: secret}}, nil
}

func (a *API) revokeKey(ctx context.Context, t host.TenantID, id string) error {
	key, err := host.ParseID[host.KeyID](id)
	if err != nil {
		return keyProblem(err)
	}
	recordOf(ctx).about("key " + string(key))
	if err := a.deps.Store.RevokeKey(ctx, t, key); err != nil {
		return keyProblem(err)
	}
	return nil
}

func keyProblem(err error) error {
	p := problemOf(err, nil)
	switch {
	case errors.Is(err, host.ErrNotFound):
		p.Detail = "The tenant has no key with this id."
	case errors.Is(err, host.ErrConflict):
		p.Detail = "This key is revoked or expired: make a new one."
	}
	return p
}
