package record

import (
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// Share is a tenant's share as it is stored.
func Share(s host.Share) (host.Share, error) {
	if !s.Valid() {
		return s, fmt.Errorf("weight %v must be from %v to %v, and concurrency from 0 to %d: %w",
			s.Weight, host.MinWeight, host.MaxWeight, host.MaxConcurrency, host.ErrInvalid)
	}
	if s.Weight == 0 {
		s.Weight = 1
	}
	return s, nil
}
