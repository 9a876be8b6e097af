package redisstream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// takeScript takes from buckets, each of which is a key that holds when it will
// be full, in microseconds since 1970; without a key it is full. All are taken
// from at the same moment, by the server's clock: those of hosts need not agree.
//
//	KEYS[i]      a bucket; one may come again, and is then taken from again
//	ARGV[1]      the time instead of the server's, in microseconds; "" but in tests
//	ARGV[3*i-1]  in how many microseconds the bucket gets one back
//	ARGV[3*i]    how many it holds
//	ARGV[3*i+1]  how many are asked for
//	returns      two for each bucket: how many there were, and after how many
//	             microseconds it is full
//
// It is host.Rate.Grant. What a bucket owes is bounded by what it can owe, and
// that is written down also when nothing was taken: neither a clock that was set
// back nor a rate that was raised shuts anybody out for longer. Every number is
// whole and below 2^53, so it is exact in Lua; '%.0f' because Lua would write it
// with an exponent. A bucket that is full is forgotten, a second late; a minute
// where the time is a test's, which stands while that of keys goes on.
var takeScript = redis.NewScript(takeLua) //nolint:gochecknoglobals // a constant: the script and its hash

const takeLua = `
local now, late = tonumber(ARGV[1]), 60000
if not now then
  local t = redis.call('TIME')
  now, late = tonumber(t[1]) * 1000000 + tonumber(t[2]), 1000
end
local out = {}
for i, key in ipairs(KEYS) do
  local unit, size, want = tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i]), tonumber(ARGV[3*i+1])
  local was = tonumber(redis.call('GET', key) or now) or now
  local full = math.min(math.max(was, now), now + unit * size)
  local got = math.min(want, math.floor((now + unit * size - full) / unit))
  if got > 0 or full < was then
    full = full + got * unit
    redis.call('SET', key, string.format('%.0f', full), 'PX', string.format('%.0f', math.ceil((full - now) / 1000) + late))
  end
  out[2*i-1], out[2*i] = got, full - now
end
return out
`

// RatesConfig says how rates are counted. Zero values are replaced by the
// defaults given.
type RatesConfig struct {
	// Prefix starts every key, as in Config.
	Prefix string
	// Now is the clock. Default: the server's, which all hosts share.
	Now func() time.Time
}

// Rates is the [host.RateLimiter] on Redis.
type Rates struct {
	client redis.Scripter
	prefix string
	now    func() time.Time
}

var _ host.RateLimiter = (*Rates)(nil)

// NewRates uses client. It does not connect, and Close of the client stays with
// the caller.
func NewRates(client redis.UniversalClient, cfg RatesConfig) (*Rates, error) {
	p, err := prefix(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("rates: %w", err)
	}
	return &Rates{client: client, prefix: "{" + p + "}:rate:", now: cfg.Now}, nil
}

// bucket is what is asked of one key at once.
type bucket struct {
	host.RateAsk
	asks []int // places in what Take was given
}

// Take asks in one script; askers of one key share one look at it.
func (r *Rates) Take(ctx context.Context, asks []host.RateAsk) ([]host.RateAnswer, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	buckets, err := bucketsOf(asks)
	if err != nil {
		return nil, err
	}
	keys, args := make([]string, len(buckets)), make([]any, 1, 1+3*len(buckets))
	if args[0] = ""; r.now != nil {
		args[0] = strconv.FormatInt(r.now().UnixMicro(), 10)
	}
	for i, b := range buckets {
		keys[i] = r.prefix + b.Key
		args = append(args, b.Rate.Interval().Microseconds(), b.Rate.Count, len(b.asks))
	}
	said, err := takeScript.Run(ctx, r.client, keys, args...).Int64Slice()
	if err == nil && len(said) != 2*len(buckets) {
		err = fmt.Errorf("%d numbers for %d buckets", len(said), len(buckets))
	}
	if err != nil {
		return nil, translate("count rates", err)
	}
	out := make([]host.RateAnswer, len(asks))
	for i, b := range buckets {
		got, debt := int(said[2*i]), time.Duration(said[2*i+1])*time.Microsecond
		for j, answer := range b.Rate.Answers(len(b.asks), got, debt) {
			out[b.asks[j]] = answer
		}
	}
	return out, nil
}

func bucketsOf(asks []host.RateAsk) ([]bucket, error) {
	at := make(map[host.RateAsk]int, len(asks))
	out := make([]bucket, 0, len(asks))
	for i, a := range asks {
		if err := a.Check(); err != nil {
			return nil, err
		}
		place, seen := at[a]
		if !seen {
			place = len(out)
			at[a] = place
			out = append(out, bucket{RateAsk: a})
		}
		out[place].asks = append(out[place].asks, i)
	}
	return out, nil
}
