package api_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// asks counts what a store is asked about keys.
type asks struct {
	api.Store
	turns, keys, uses atomic.Int64
}

func (s *asks) GoodKeys(ctx context.Context, hashes [][32]byte) ([][32]byte, error) {
	s.turns.Add(1)
	s.keys.Add(int64(len(hashes)))
	return s.Store.GoodKeys(ctx, hashes)
}

func (s *asks) UseKey(ctx context.Context, hash [32]byte) (host.Key, error) {
	s.uses.Add(1)
	return s.Store.UseKey(ctx, hash)
}

// TestGoodKeyDuringFlood: keys that nobody here has seen get through while their
// address floods the host with keys that look as good and with others, and the
// store hears of those few times.
func TestGoodKeyDuringFlood(t *testing.T) {
	t.Parallel()
	counted := &asks{}
	e, _ := limited(t, host.Plan{}, api.Limits{AddressRate: perMinute(6)}, func(d *api.Deps) {
		counted.Store = d.Store
		d.Store = counted
	})
	e.operator(t, "ann", nil)
	var made, refused atomic.Int64
	began, over, stop := time.Now(), make(chan struct{}), make(chan struct{})
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	flood := func(key string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/scans", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("X-API-Key", key)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusUnauthorized:
		case http.StatusTooManyRequests:
			if refused.Add(1) == 20 {
				close(over)
			}
		default:
			t.Errorf("a key that was made up: %d", resp.StatusCode)
		}
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				secret, _ := apikey.New()
				if i == 0 {
					secret = secret[:63] + "!" // not even that
				} else {
					made.Add(1)
				}
				flood(secret)
			}
		})
	}
	<-over // the address is over its rate
	for range 2 {
		for who, path := range map[string]string{"alice": "/scans", "ann": "/admin/queue", "bob": "/scans"} {
			if resp, body := e.do(t, who, http.MethodGet, path, "", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("%s in the flood: %d %s", who, resp.StatusCode, body)
			}
		}
	}
	close(stop)
	wg.Wait()
	const good = 3
	if most := int64(time.Since(began)/(50*time.Millisecond)) + 1; counted.turns.Load() > most || counted.keys.Load() > made.Load()+good {
		t.Errorf("for %d keys that were made up the store was asked %d times, for %d; want at most %d times", made.Load(), counted.turns.Load(), counted.keys.Load(), most)
	}
	if n := counted.uses.Load(); n > 2*(good-1) { // again when a second has passed
		t.Errorf("%d keys were looked up one by one, want the good ones", n)
	}
}
