package record

import (
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// TargetColumns are those of targets g that TargetDest takes.
const TargetColumns = `g.id, g.tenant_id, g.host, g.token, g.created_at, g.proof, g.proven_at, g.checked_at, g.fault`

// TargetDest is where to scan them.
func TargetDest(t *host.Target, at AtFunc) []any {
	return []any{&t.ID, &t.TenantID, &t.Host, &t.Token, at(&t.CreatedAt), &t.Proof, at(&t.ProvenAt), at(&t.CheckedAt), &t.Fault}
}

// CheckTarget refuses what the tables would.
func CheckTarget(t host.Target) error {
	switch {
	case !IsID(t.ID) || !IsID(t.TenantID):
		return fmt.Errorf("the id is not a UUID: %w", host.ErrInvalid)
	case Clean(t.Host) == "" || Clean(t.Token) == "":
		return fmt.Errorf("it has no host or no token: %w", host.ErrInvalid)
	}
	return nil
}

// CheckProof refuses what no check finds.
func CheckProof(c host.TargetCheck) error {
	known := c.Proof == host.ProofNone || c.Proof == host.ProofDNS || c.Proof == host.ProofFile
	if !known || c.Gone && c.Proof != host.ProofNone {
		return fmt.Errorf("check with proof %.20q, gone %t: %w", string(c.Proof), c.Gone, host.ErrInvalid)
	}
	return nil
}
