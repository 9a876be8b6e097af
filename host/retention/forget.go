package retention

import (
	"context"
	"errors"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/internal/turns"
)

// forget removes tenants that are being deleted, what is old in the audit log,
// and the keys of requests that are a day old, turn by turn. What says how far it is are the rows that are left, so any
// host goes on where another one stopped.
func (s *Sweeper) forget(ctx context.Context) {
	trouble := turns.Trouble{Log: s.log, What: "remove all of the tenants that are being deleted, and of the audit log and of the accepted requests what is old"}
	for turns.Sleep(ctx, turns.Jitter(s.config().Every)) {
		done, err := s.dropTenants(ctx)
		err = errors.Join(err, s.dropLines(ctx, s.store.DropAudit), s.dropLines(ctx, s.store.DropRequests))
		if ctx.Err() != nil {
			return // cut short, and done next time
		}
		trouble.Report(err)
		if done.Scans+done.Blobs > 0 {
			s.log.Info("removed what belonged to deleted tenants", "scans", done.Scans, "findings", done.Findings,
				"blobs", done.Blobs, "bytes", done.Bytes)
		}
	}
}

// dropTenants removes what there is to remove of them now.
func (s *Sweeper) dropTenants(ctx context.Context) (done host.Swept, err error) {
	drop := func(ctx context.Context, limit int) (host.Dropped, error) {
		out, err := s.store.DropTenant(ctx, limit)
		if out.Tenants > 0 {
			s.log.Info("removed tenants with all that was theirs", "tenants", out.Tenants)
		}
		return out, err
	}
	err = s.drop(ctx, drop, &done, &done.Scans)
	return done, err
}

// dropLines calls drop until it finds no more.
func (s *Sweeper) dropLines(ctx context.Context, drop func(context.Context, int) (int, error)) error {
	const batch = 1000
	for {
		n, err := drop(ctx, batch)
		if err != nil || n < batch || !turns.Sleep(ctx, s.config().Pause) {
			return err
		}
	}
}
