package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

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
