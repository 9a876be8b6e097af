package redisstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// reapScript deletes consumers that are not there any more. One that has
// something pending stays, whatever its age: DELCONSUMER would drop that for
// ever. The check and the deletion are one step, so that nothing can be
// delivered in between.
//
//	KEYS[1]  the stream
//	ARGV[1]  the group
//	ARGV[2]  how many milliseconds a consumer must have been idle
//	ARGV[3]  the one that alone is looked at, "" for all
//	returns  how many it deleted; 0 also without such a stream or group
//
// The count of pending entries comes from XPENDING: XINFO's is not kept right
// by every server. Where a server does not know how long a consumer has been
// idle it says -1, and the consumer stays.
var reapScript = redis.NewScript(reapLua) //nolint:gochecknoglobals // a constant: the script and its hash

const reapLua = `
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
local n = 0
for _, fields in ipairs(consumers) do
  local c = {}
  for i = 1, #fields, 2 do c[fields[i]] = fields[i + 1] end
  local named = ARGV[3] == '' or ARGV[3] == c.name
  if named and (ARGV[3] ~= '' or c.idle >= tonumber(ARGV[2]))
      and #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, c.name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
    n = n + 1
  end
end
return n
`

// reap deletes, once in each Config.Absent, the consumers of hosts that have
// not been there for that long. Before Redis 7.2 the idle time of a host that
// listens and hears nothing grows too: deleting that consumer does no harm, its
// next read makes it again.
func (d *Doorbells) reap(ctx context.Context, plugins []string) error {
	if !d.reapDue() {
		return nil
	}
	for _, p := range plugins {
		if err := d.runReap(ctx, d.stream(p), ""); err != nil {
			return translate("remove absent listeners", err)
		}
	}
	return nil
}

func (d *Doorbells) reapDue() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.reapAt) {
		return false
	}
	d.reapAt = now.Add(d.cfg.Absent)
	return true
}

// Leave deletes this host's consumers that have nothing pending.
func (d *Doorbells) Leave(ctx context.Context) error {
	d.mu.Lock()
	streams := slices.Sorted(maps.Keys(d.reclaims))
	d.mu.Unlock()
	for _, s := range streams {
		if err := d.runReap(ctx, s, d.cfg.Consumer); err != nil {
			return translate("leave the listeners", err)
		}
	}
	return nil
}

func (d *Doorbells) runReap(ctx context.Context, stream, only string) error {
	keys, args := []string{stream}, []any{group, d.cfg.Absent.Milliseconds(), only}
	err := reapScript.Run(ctx, d.client, keys, args...).Err()
	var refused redis.Error
	if errors.As(err, &refused) {
		return nil // a server that cannot do this, or may not, keeps some names too many
	}
	return err
}
