package record

import (
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// Share is a tenant's share, checked.
func Share(s host.Share) (host.Share, error) {
	if !s.Valid() {
		return s, fmt.Errorf("weight %v must be from %v to %v, and concurrency from 0 to %d: %w",
			s.Weight, host.MinWeight, host.MaxWeight, host.MaxConcurrency, host.ErrInvalid)
	}
	return s, nil
}

// Weight is a tenant's weight in its column; nil is null: its plan's.
func Weight(s host.Share) *float64 {
	if s.Weight == 0 {
		return nil
	}
	return &s.Weight
}

// Override is what is different for a tenant, as it is stored: nil for nothing.
func Override(o host.Override) *string {
	if o == (host.Override{}) {
		return nil
	}
	return new(Encode(o))
}

// Terms are a tenant's as they are read.
type Terms struct {
	plan     string
	override *string
}

// TermsColumns are those of tenants t that Terms takes.
const TermsColumns = `t.plan, t.override`

// Dest is where to scan them.
func (t *Terms) Dest() []any { return []any{&t.plan, &t.override} }

// Value reads them.
func (t *Terms) Value() (out host.Terms, err error) {
	out.Plan = t.plan
	return out, decode("override", t.override, &out.Override)
}
