package host

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is what an API key may do, for its tenant.
type Scope string

const (
	ScopeScanWrite    Scope = "scan:write"    // start scans, cancel and delete them
	ScopeScanRead     Scope = "scan:read"     // see scans, findings, artifacts, plugins and usage
	ScopeFindingWrite Scope = "finding:write" // change what is said of findings
	ScopeWebhookWrite Scope = "webhook:write" // make, see and change webhooks: where word of scans is sent
	ScopeAdmin        Scope = "admin"         // the tenant's own keys, and deleting a project's scans
)

// AllScopes gives every scope there is, in the order in which they are listed.
func AllScopes() []Scope {
	return []Scope{ScopeAdmin, ScopeFindingWrite, ScopeScanRead, ScopeScanWrite, ScopeWebhookWrite}
}

// Scopes are what a key may do. Empty stands for DefaultScopes.
type Scopes []Scope

// DefaultScopes are those of a key that names none: all that keys could do
// before they had scopes, so neither the keys of others nor webhooks.
func DefaultScopes() Scopes { return Scopes{ScopeFindingWrite, ScopeScanRead, ScopeScanWrite} }

// Has reports whether s allows what a scope is for.
func (s Scopes) Has(one Scope) bool { return slices.Contains(s, one) }

// Names gives them as words.
func (s Scopes) Names() []string {
	out := make([]string, len(s))
	for i, one := range s {
		out[i] = string(one)
	}
	return out
}

func (s Scopes) String() string { return strings.Join(s.Names(), " ") }

// ParseScopes reads words. ErrInvalid for one that is no scope; none at all are
// the default ones. Each is there once, in order.
func ParseScopes(words []string) (Scopes, error) {
	var out Scopes
	for _, w := range words {
		if !slices.Contains(AllScopes(), Scope(w)) {
			return nil, fmt.Errorf("%.64q is no scope; there are %s: %w", w, Scopes(AllScopes()), ErrInvalid)
		}
		out = append(out, Scope(w))
	}
	if len(out) == 0 {
		return DefaultScopes(), nil
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
