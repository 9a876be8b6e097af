package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/securetaghq/securetag/host"
)

// LocalConfig tunes a Local. The zero value of each field takes its default.
type LocalConfig struct {
	// Hosts is by how much each rate is divided. Default 1.
	Hosts int
	// Keys is how many are remembered: beyond it, those that were not asked for
	// the longest are forgotten, and their buckets are full again. Default 65536,
	// which is about 10 MiB.
	Keys int
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Local counts rates in this process.
type Local struct {
	hosts int
	now   func() time.Time

	mu   sync.Mutex
	full *simplelru.LRU[string, int64] // key -> when its bucket is full, in microseconds
}

var _ host.RateLimiter = (*Local)(nil)

// NewLocal makes one whose buckets are all full.
func NewLocal(cfg LocalConfig) (*Local, error) {
	if cfg.Hosts == 0 {
		cfg.Hosts = 1
	}
	if cfg.Keys == 0 {
		cfg.Keys = 1 << 16
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Hosts < 0 || cfg.Keys < 0 {
		return nil, fmt.Errorf("local rates: hosts %d and keys %d must be positive: %w", cfg.Hosts, cfg.Keys, host.ErrInvalid)
	}
	full, err := simplelru.NewLRU[string, int64](cfg.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("local rates: %w", err)
	}
	return &Local{hosts: cfg.Hosts, now: cfg.Now, full: full}, nil
}

// Take never fails but for asks that are invalid.
func (l *Local) Take(_ context.Context, asks []host.RateAsk) ([]host.RateAnswer, error) {
	for _, a := range asks {
		if err := a.Check(); err != nil {
			return nil, err
		}
	}
	out := make([]host.RateAnswer, len(asks))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().UnixMicro()
	for i, a := range asks {
		rate := part(a.Rate, l.hosts)
		full, known := l.full.Get(a.Key)
		if !known {
			full = now
		}
		got, debt := rate.Grant(time.Duration(full-now)*time.Microsecond, 1)
		l.full.Add(a.Key, now+debt.Microseconds())
		out[i] = rate.Answers(1, got, debt)[0]
	}
	return out, nil
}

// part is what one of so many hosts lets through: at least one at a time, in
// however long it takes.
func part(r host.Rate, hosts int) host.Rate {
	count := max(r.Count/hosts, 1)
	per := time.Duration(float64(r.Per) * float64(hosts) * float64(count) / float64(r.Count))
	return host.Rate{Count: count, Per: per}
}
