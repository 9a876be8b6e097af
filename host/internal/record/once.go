package record

import (
	"fmt"
	"time"

	"github.com/securetaghq/securetag/host"
)

// onceKey tells requests apart in a store.
type onceKey struct {
	tenant host.TenantID
	key    [32]byte
}

// checkOnce refuses scans of which two have the same key: only one of them could
// be stored.
func checkOnce(scans []host.Scan) error {
	var seen map[onceKey]bool
	for _, s := range scans {
		if s.Once == nil {
			continue
		}
		k := onceKey{s.TenantID, s.Once.Key}
		if seen[k] {
			return fmt.Errorf("two scans have the same key: %w", host.ErrInvalid)
		}
		if seen == nil {
			seen = map[onceKey]bool{}
		}
		seen[k] = true
	}
	return nil
}

// Request is a row of tenant_id, key, digest, scan and created_at of
// accepted_requests.
type Request struct {
	tenant      host.TenantID
	key, digest []byte
	scan        string
	created     time.Time
}

// Dest is where to scan the row.
func (r *Request) Dest(at AtFunc) []any {
	return []any{&r.tenant, &r.key, &r.digest, &r.scan, at(&r.created)}
}

// Value is what was scanned.
func (r *Request) Value() (*host.Earlier, error) {
	var e host.Earlier
	copy(e.Digest[:], r.digest)
	if err := decode("scan", &r.scan, &e.Scan); err != nil {
		return nil, err
	}
	if string(e.Scan.Options) == "null" { // what nil is in JSON
		e.Scan.Options = nil
	}
	one := []host.Scan{e.Scan}
	Stamp(one, r.created)
	e.Scan = one[0]
	return &e, nil
}

// Match notes in found for which of scans the row is what there was earlier.
func (r *Request) Match(scans []host.Scan, found map[host.ScanID]*host.Earlier) error {
	for _, s := range scans {
		if s.Once == nil || s.TenantID != r.tenant || string(s.Once.Key[:]) != string(r.key) {
			continue
		}
		e, err := r.Value()
		if err != nil {
			return err
		}
		found[s.ID] = e
	}
	return nil
}
