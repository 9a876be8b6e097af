package e2e_test

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/securetaghq/securetag/api/client"
)

// TestOneKey: of 50 uploads by one key, at three hosts of which one dies on the
// way, there is one scan, and everybody who asks long enough hears of it.
func TestOneKey(t *testing.T) {
	t.Parallel()
	const uploads, hosts, before = 50, 3, 5
	c := start(t, place{"three hosts", true, hosts}, settings{plainBinary: true})
	archive := sample(t)
	send := func(host int, archive []byte) (client.Scan, error) {
		return c.api(host, "a").Upload(t.Context(), bytes.NewReader(archive), client.UploadOptions{Type: "noop", Key: "one of fifty"})
	}
	ids := make([]string, uploads)
	var answered atomic.Int32
	kill, over := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			for host := i; ; host++ {
				s, err := send(host, archive)
				var network *client.NetworkError
				if errors.As(err, &network) && host < i+hosts {
					continue // it died: ask the next
				}
				if err != nil {
					t.Errorf("upload %d: %v", i, err)
					return
				}
				if ids[i] = s.ID; answered.Add(1) == before {
					close(kill)
				}
				return
			}
		})
	}
	go func() { wg.Wait(); close(over) }()
	select {
	case <-kill:
		c.hosts[0].Kill(t)
	case <-over:
	}
	<-over
	for i, id := range ids {
		if id != ids[0] {
			t.Errorf("upload %d is scan %s, and the first %s", i, id, ids[0])
		}
	}
	scans, err := c.api(1, "a").Scans(t.Context(), client.ScansQuery{})
	if err != nil || len(scans.Items) != 1 {
		t.Errorf("%d scans, want 1: %v", len(scans.Items), err)
	}
	if s := c.wait(ids[0]); s.State != client.StateSucceeded {
		t.Errorf("the scan: %+v", s)
	}
	other := tarGz(t, map[string]string{"other": "x"})
	for host := range hosts - 1 {
		_, err := send(host+1, other)
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != "idempotency_key_reused" {
			t.Errorf("another archive by the same key at host %d: %v", host+1, err)
		}
	}
}
