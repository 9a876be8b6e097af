package api

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/securetaghq/securetag/host"
)

const (
	// keyTTL is how long a key that was good is taken for good without asking
	// the store: so long may a revoked one still work. A client that sends
	// hundreds of requests a second costs one look-up a second.
	keyTTL = time.Second
	// lookupTimeout bounds one look-up, which may outlive its request.
	lookupTimeout = 10 * time.Second
	// maxKeys bounds the keys that are remembered; beyond it all are forgotten.
	maxKeys = 10_000
)

// keyring looks keys up and remembers those that were good for a moment. A bad
// one is looked up each time, so that nobody can fill it.
type keyring struct {
	lookup func(context.Context, [32]byte) (host.Key, error)
	flight singleflight.Group

	mu    sync.Mutex
	known map[[32]byte]knownKey
}

type knownKey struct {
	key   host.Key
	until time.Time
}

func newKeyring(lookup func(context.Context, [32]byte) (host.Key, error)) *keyring {
	return &keyring{lookup: lookup, known: map[[32]byte]knownKey{}}
}

// use returns the key with this hash. Errors are those of host.KeyStore.UseKey.
// Requests that ask for the same key at the same time share one look-up, which
// does not end with the request that began it.
func (k *keyring) use(ctx context.Context, hash [32]byte) (host.Key, error) {
	now := time.Now()
	k.mu.Lock()
	known, ok := k.known[hash]
	k.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.key, nil
	}
	result := k.flight.DoChan(string(hash[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		key, err := k.lookup(ctx, hash)
		k.note(hash, key, err, now)
		return key, err
	})
	select {
	case <-ctx.Done():
		return host.Key{}, context.Cause(ctx)
	case r := <-result:
		key, _ := r.Val.(host.Key)
		return key, r.Err
	}
}

// knows reports whether the key with this hash was good the last time, however
// long ago that is.
func (k *keyring) knows(hash [32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.known[hash]
	return ok
}

// note keeps or forgets a key whose look-up began at the given time.
func (k *keyring) note(hash [32]byte, key host.Key, err error, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		delete(k.known, hash)
		return
	}
	if len(k.known) >= maxKeys {
		clear(k.known)
	}
	k.known[hash] = knownKey{key: key, until: began.Add(keyTTL)}
}
