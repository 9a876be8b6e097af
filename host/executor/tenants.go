package executor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
)

// With PerTenant a tenant's first job starts a process, which then runs that
// tenant's jobs and nobody else's. It is stopped when it has had nothing to do
// for TenantIdle, and sooner when more than TenantProcesses have nothing to do.

// joinTenant gives a place on the tenant's process, which it starts when there
// is none. When all places are taken it waits as long as ctx lets it.
func (k *keeper) joinTenant(ctx context.Context, tenant host.TenantID) (*process, error) {
	for {
		k.mu.Lock()
		p, changed := k.tenants[tenant], k.changed
		var dead *process
		if p != nil && !p.alive() {
			k.drop(p)
			if p.users == 0 {
				dead = p
			}
			p = nil
		}
		mine := p == nil && !k.seated[tenant]
		free := p != nil && p.users < p.info.Concurrency
		switch {
		case free:
			p.users++
			k.running++
		case mine:
			k.seated[tenant] = true
		}
		k.mu.Unlock()
		if dead != nil {
			dead.stop(false)
		}
		switch {
		case free:
			return p, nil
		case mine:
			if err := k.seat(ctx, tenant); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

// seat starts the process of a tenant. Its caller alone does, as seated says.
func (k *keeper) seat(ctx context.Context, tenant host.TenantID) error {
	p, err := k.start(ctx, "")
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.seated, tenant)
	k.announce()
	if err != nil {
		return err
	}
	p.tenant, p.idleSince = tenant, time.Now()
	k.tenants[tenant] = p
	k.failures = 0
	go k.watch(ctx, p) // ends with the process, which stopAll, evict or a run ends
	return nil
}

// drop takes a process that broke or died from its tenant; k.mu is held.
func (k *keeper) drop(p *process) {
	if k.tenants[p.tenant] == p {
		delete(k.tenants, p.tenant)
		k.died(p)
	}
}

// evict stops processes that have had nothing to do for too long, or that are
// too many, or dead. It gives the time until the next may be due; 0: none.
func (k *keeper) evict() time.Duration {
	k.mu.Lock()
	var idle, out []*process
	for _, p := range k.tenants {
		switch {
		case p.users > 0:
		case !p.alive():
			k.drop(p)
			k.count(k.ended(p))
			out = append(out, p)
		default:
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *process) int { return cmp.Compare(b.idleSince.UnixNano(), a.idleSince.UnixNano()) })
	next := time.Duration(0)
	for i, p := range idle { // the latest first
		left := k.plugin.TenantIdle - time.Since(p.idleSince)
		if left > 0 && i < k.plugin.TenantProcesses && !k.retired {
			next = left
			continue
		}
		delete(k.tenants, p.tenant)
		out = append(out, p)
	}
	k.mu.Unlock()
	for _, p := range out {
		p.stop(true)
	}
	return next
}
