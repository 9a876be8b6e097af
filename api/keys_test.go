package api

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
)

func TestKeyring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked int
		revoked := false
		k := newKeyring(func(_ context.Context, hash [32]byte) (host.Key, error) {
			asked++
			if revoked || hash[0] != 1 {
				return host.Key{}, host.ErrNotFound
			}
			return host.Key{ID: "good", Hash: hash}, nil
		})
		good, bad := [32]byte{1}, [32]byte{2}
		for range 100 {
			if key, err := k.use(t.Context(), good); err != nil || key.ID != "good" {
				t.Fatalf("a good key: %v, %v", key, err)
			}
		}
		if asked != 1 {
			t.Errorf("the store was asked %d times for one key within its time", asked)
		}
		for range 3 {
			if key, err := k.use(t.Context(), bad); !errors.Is(err, host.ErrNotFound) || key.ID != "" {
				t.Errorf("a bad key: %v, %v", key, err)
			}
		}
		if asked != 4 {
			t.Errorf("the store was asked %d times, want once more for each bad key", asked)
		}
		revoked = true
		time.Sleep(keyTTL)
		if _, err := k.use(t.Context(), good); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("a key that was revoked %v ago: %v", keyTTL, err)
		}
		if len(k.known) != 0 {
			t.Errorf("%d keys are remembered, none is good", len(k.known))
		}
	})
}

// TestKeyringShares: requests at the same time share one look-up, and one that
// hangs up takes it from nobody.
func TestKeyringShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan struct{})
		k := newKeyring(func(ctx context.Context, _ [32]byte) (host.Key, error) {
			asked.Add(1)
			<-answer
			return host.Key{ID: "good"}, ctx.Err()
		})
		first, hangUp := context.WithCancel(t.Context())
		results := make(chan error, 10)
		go func() { _, err := k.use(first, [32]byte{1}); results <- err }()
		synctest.Wait()
		for range 9 {
			go func() { _, err := k.use(t.Context(), [32]byte{1}); results <- err }()
		}
		synctest.Wait()
		hangUp()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that hung up: %v", err)
		}
		close(answer)
		for range 9 {
			if err := <-results; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("the store was asked %d times", asked.Load())
		}
	})
}

func TestKeyringIsBounded(t *testing.T) {
	t.Parallel()
	k := newKeyring(func(context.Context, [32]byte) (host.Key, error) { return host.Key{}, nil })
	for i := range 3 * maxKeys / 2 {
		if _, err := k.use(t.Context(), [32]byte{byte(i), byte(i >> 8)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.known) > maxKeys {
		t.Errorf("%d keys are remembered, at most %d are", len(k.known), maxKeys)
	}
}
