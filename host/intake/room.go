package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Bounds is what one archive may be. 0 is what this host takes from anybody.
type Bounds struct {
	Archive  int64 // packed, in bytes
	Unpacked int64 // in bytes
	// storage is why an archive is refused that is larger than what is left of
	// the tenant's storage, if that is bounded.
	storage *host.Shortage
}

// left is how many bytes an archive may have, and what refuses one more.
func (b Bounds) left(most int64) (left int64, refuse func() error) {
	if b.Archive > 0 {
		most = min(most, b.Archive)
	}
	if s := b.storage; s != nil && s.Limit-s.Used < most {
		free := s.Limit - s.Used
		return free, func() error { return shortage(s, free+1) }
	}
	return most, func() error { return TooLarge(most) }
}

// shortage is s for an archive of at least so many bytes.
func shortage(s *host.Shortage, needed int64) error {
	again := *s
	again.Needed = needed
	return &again
}

// Room says what an archive of a tenant with this plan may be, before it is
// read: least is how many bytes it will have at least, 0 if nobody knows. It is
// a *host.Shortage when there is no room for it. What it says is of a moment ago,
// so that asking costs little: only Accept decides.
func (in *Intake) Room(ctx context.Context, t host.TenantID, p host.Plan, least int64) (Bounds, error) {
	b := Bounds{Archive: p.ArchiveSize, Unpacked: p.UnpackedSize}
	if p.Quota == (host.Quota{}) {
		return b, nil
	}
	least = max(least, 1)
	u, fresh, err := in.room.usage(ctx, t, false)
	if err == nil && !fresh && u.Shortage(p.Quota, least) != nil {
		u, _, err = in.room.usage(ctx, t, true) // something may have been given back
	}
	if err != nil {
		return Bounds{}, fmt.Errorf("look for room: %w", err)
	}
	if short := u.Shortage(p.Quota, least); short != nil {
		return Bounds{}, short
	}
	if p.Storage > 0 {
		b.storage = &host.Shortage{Quota: host.QuotaStorage, Used: u.Storage, Limit: p.Storage}
	}
	return b, nil
}

const (
	// usageTTL is how long usage is taken for current where nothing is refused.
	usageTTL = time.Second
	// maxUsages bounds the tenants of which it is remembered; beyond it all are
	// forgotten.
	maxUsages = 10_000
)

// room remembers what tenants hold for a moment.
type room struct {
	lookup func(context.Context, host.TenantID) (host.Usage, error)

	mu    sync.Mutex
	known map[host.TenantID]knownUsage
}

type knownUsage struct {
	usage host.Usage
	until time.Time
}

// usage is what a tenant holds, and whether the store said so just now.
func (r *room) usage(ctx context.Context, t host.TenantID, fresh bool) (host.Usage, bool, error) {
	now := time.Now()
	r.mu.Lock()
	known, ok := r.known[t]
	r.mu.Unlock()
	if ok && !fresh && now.Before(known.until) {
		return known.usage, false, nil
	}
	u, err := r.lookup(ctx, t)
	if err != nil {
		return host.Usage{}, true, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxUsages {
		r.known = map[host.TenantID]knownUsage{}
	}
	r.known[t] = knownUsage{u, now.Add(usageTTL)}
	return u, true, nil
}
