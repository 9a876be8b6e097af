package tracking_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/tracking"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backlog is a store in which so many scans wait.
type backlog struct {
	mu    sync.Mutex
	waits int
	err   error
	calls int
}

func (b *backlog) Track(_ context.Context, most int) (*host.Tracking, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.err != nil || b.waits == 0 {
		return nil, b.err
	}
	b.waits--
	return &host.Tracking{Scan: "s", Untracked: 7 - most}, nil
}

func (b *backlog) set(waits int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits, b.err = waits, err
}

func (b *backlog) left() (waits, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits, b.calls
}

// TestRun: what waits is all tracked with the next look, or at once when somebody
// asks; a store that fails is said once, and once that it is back.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := &backlog{waits: 5}
		tr := tracking.New(b, tracking.Config{Every: time.Minute, Most: func() int { return 5 }}, hclog.New(&hclog.LoggerOptions{Output: &log}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tr.Run(ctx) }()
		time.Sleep(2 * time.Minute) // of the bubble's clock
		if n, _ := b.left(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		synctest.Wait()
		b.set(3, nil)
		tr.Wake()
		tr.Wake()
		synctest.Wait()
		if n, _ := b.left(); n != 0 {
			t.Errorf("woken: %d still wait", n)
		}
		b.set(1, errors.New("away"))
		time.Sleep(10 * time.Minute)
		b.set(1, nil)
		time.Sleep(2 * time.Minute)
		if n, _ := b.left(); n != 0 {
			t.Errorf("after a failure: %d still wait", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := log.String(); strings.Count(s, "cannot compare") != 1 || strings.Count(s, "again") != 2 || !strings.Contains(s, "findings=2") {
			t.Errorf("the log says:\n%s", s)
		}
	})
}
