package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// identify finds out who asks: a tenant, or below /admin an operator.
func (a *API) identify(ctx context.Context, r *http.Request, op *huma.Operation, rec *record) error {
	if op.Metadata[forOperators] != nil {
		key, err := a.authenticateOperator(ctx, r)
		rec.operator, rec.operatorName = key.ID, key.Name
		return err
	}
	key, err := a.authenticate(ctx, r)
	if err != nil {
		return err
	}
	rec.tenant, rec.key, rec.plan = key.TenantID, key.ID, a.deps.Plans.Plan(key.Terms)
	rec.denied = allow(key, op)
	return nil
}

// authenticateOperator finds the operator's key that a request carries. A
// tenant's key, whether it exists or not, is as wrong as any other text.
func (a *API) authenticateOperator(ctx context.Context, r *http.Request) (host.OperatorKey, error) {
	secret, _ := secretOf(r.Header)
	hash, ok := apikey.ParseOperator(secret)
	if !ok {
		return host.OperatorKey{}, noOperator()
	}
	key, err := a.deps.Store.UseOperatorKey(ctx, hash)
	a.operators.note(hash, err == nil)
	if errors.Is(err, host.ErrNotFound) {
		return host.OperatorKey{}, noOperator()
	}
	if err != nil {
		return host.OperatorKey{}, fmt.Errorf("look up operator key: %w", err)
	}
	return key, nil
}

func noOperator() error {
	p := problemOf(host.ErrUnauthorized, nil)
	p.Detail = "A valid operator key is required, as X-API-Key or as Authorization: Bearer. A tenant's key is none."
	return p
}

// authenticate finds the key that a request carries. Whatever is wrong with it
// gives host.ErrUnauthorized and the same answer.
func (a *API) authenticate(ctx context.Context, r *http.Request) (host.Key, error) {
	secret, ok := secretOf(r.Header)
	if !ok {
		return host.Key{}, host.ErrUnauthorized
	}
	hash, ok := apikey.Parse(secret)
	if !ok {
		return host.Key{}, host.ErrUnauthorized
	}
	key, err := a.keys.use(ctx, hash)
	if errors.Is(err, host.ErrNotFound) {
		return host.Key{}, host.ErrUnauthorized
	}
	if err != nil {
		return host.Key{}, fmt.Errorf("look up API key: %w", err)
	}
	return key, nil
}

// secretOf reads X-API-Key and Authorization: Bearer. Given both, or one of
// them twice, they must agree: otherwise a proxy and this host may disagree on
// whose request it is.
func secretOf(h http.Header) (string, bool) {
	found := h.Values("X-Api-Key")
	for _, v := range h.Values("Authorization") {
		scheme, secret, ok := strings.Cut(v, " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		found = append(found[:len(found):len(found)], strings.TrimSpace(secret))
	}
	if len(found) == 0 {
		return "", false
	}
	for _, other := range found[1:] {
		if other != found[0] {
			return "", false
		}
	}
	return found[0], true
}
