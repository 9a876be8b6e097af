package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// keyPattern is an Idempotency-Key: a String of RFC 8941, or the same without
// its quotes where that can be read in one way only.
const keyPattern = `^("([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+.-:<-\[\]-~-]{1,255})$`

// onceKey is the header Idempotency-Key; "" when there is none.
type onceKey string

// Schema is what huma holds the header to.
func (onceKey) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{
		Type: huma.TypeString, Pattern: keyPattern,
		Description: "What you call this request, such as a UUID: 1 to 255 printable ASCII characters, in quotes or without spaces, commas, semicolons, quotes and backslashes. Sent again with the same key within 24 hours, the request has the effect of one, " +
			"and the answer that the first one had. Of an archive its content counts, and not its name.",
		Examples: []any{`"01a20a02-7914-7be9-bd21-46768b2e29c6"`},
	}
	return s
}

// name is what the client calls the request, with quotes or without.
func (k onceKey) name() string {
	s := string(k)
	if len(s) < 2 || s[0] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
}

// of is the key of a request to a route; nil when it has none.
func (k onceKey) of(route string) *[32]byte {
	if k == "" {
		return nil
	}
	key := intake.OnceKey(route, k.name())
	return &key
}

// checkKey refuses what huma takes for no key, and would make each request another
// one: an empty key, and more than one.
func checkKey(r *http.Request) error {
	given := r.Header.Values("Idempotency-Key")
	if len(given) == 0 || len(given) == 1 && given[0] != "" {
		return nil
	}
	const detail = "Idempotency-Key must be one key of 1 to 255 characters; leave it out to have none."
	p := &problemError{Problem: kindInvalid().problem(detail)}
	p.Errors = []client.ProblemError{{Pointer: "header.Idempotency-Key", Detail: detail}}
	return p
}

// roomFor is Intake.Room for a request that may have been accepted before: then
// it needs no room any more.
func (a *API) roomFor(ctx context.Context, rec *record, key *[32]byte, least int64) (intake.Bounds, error) {
	bounds, err := a.deps.Intake.Room(ctx, rec.tenant, rec.plan, least)
	if key == nil || !errors.Is(err, host.ErrOverQuota) {
		return bounds, err
	}
	if _, unknown := a.deps.Store.Earlier(ctx, rec.tenant, *key); unknown != nil {
		return bounds, err
	}
	return intake.Bounds{Archive: rec.plan.ArchiveSize, Unpacked: rec.plan.UnpackedSize}, nil
}
