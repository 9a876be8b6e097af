package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// keys is a store that takes one scan of each key, and hears of nothing else.
type keys struct {
	store
	mu      sync.Mutex
	calls   int
	fail    func(call int) error // before anything is stored
	known   map[[32]byte]*host.Earlier
	entered chan struct{} // the first call waits in here
}

func (k *keys) Accept(_ context.Context, scans []host.Scan, _ map[host.TenantID]host.Quota) ([]host.Scan, error) {
	k.mu.Lock()
	k.calls++
	call := k.calls
	k.mu.Unlock()
	if call == 1 && k.entered != nil {
		<-k.entered
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(call); err != nil {
			return nil, err
		}
	}
	before, seen := &host.Repeated{Scans: map[host.ScanID]*host.Earlier{}}, map[[32]byte]bool{}
	for _, s := range scans {
		if s.Once == nil {
			continue
		}
		if seen[s.Once.Key] {
			return nil, fmt.Errorf("one key twice: %w", host.ErrInvalid)
		}
		seen[s.Once.Key] = true
		if e := k.known[s.Once.Key]; e != nil {
			before.Scans[s.ID] = e
		}
	}
	if len(before.Scans) > 0 {
		return nil, fmt.Errorf("accept: %w", before)
	}
	for _, s := range scans {
		if s.Once != nil {
			k.known[s.Once.Key] = &host.Earlier{Digest: s.Once.Digest, Scan: s}
		}
	}
	return scans, nil
}

func newKeys(t *testing.T, s *keys) *intake.Intake {
	t.Helper()
	s.known = map[[32]byte]*host.Earlier{}
	types := []intake.ScanType{{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1}}
	in, err := intake.New(s, nil, checkZip, types, func() {}, intake.Config{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// asked says what came of a request: the scan, and whether it was replayed.
func asked(s host.Scan, err error) (host.ScanID, bool, error) {
	var r *intake.Replayed
	if errors.As(err, &r) {
		return r.Scan.ID, true, nil
	}
	return s.ID, false, err
}

func request(tenant host.TenantID, name string) intake.Request {
	key := intake.OnceKey("POST /scans/dast", name)
	return intake.Request{Tenant: tenant, Type: "dast", Key: &key}
}

// TestReplay: what is asked for decides, and neither how it is written nor what
// an archive is called.
func TestReplay(t *testing.T) {
	t.Parallel()
	in := newKeys(t, &keys{})
	tenant := host.NewTenantID()
	req := request(tenant, "a")
	req.Options = []byte(`{"probe": {"a": 1, "b": 2}}`)
	first, _, err := asked(in.AcceptURL(t.Context(), req, "https://example.com/"))
	if err != nil {
		t.Fatal(err)
	}
	req.Options = []byte(`{"probe":{"b":2,"a":1}}`)
	if id, replayed, err := asked(in.AcceptURL(t.Context(), req, "https://example.com/")); id != first || !replayed || err != nil {
		t.Errorf("again: scan %s, replayed %v, %v; want %s", id, replayed, err, first)
	}
	for name, change := range map[string]func(*intake.Request, *string){
		"project":  func(r *intake.Request, _ *string) { r.Project = "x" },
		"priority": func(r *intake.Request, _ *string) { r.Priority = host.PriorityLow },
		"options":  func(r *intake.Request, _ *string) { r.Options = nil },
		"URL":      func(_ *intake.Request, url *string) { *url += "b" },
	} {
		other, url := req, "https://example.com/"
		change(&other, &url)
		_, err := in.AcceptURL(t.Context(), other, url)
		var refusal *intake.Refusal
		if !errors.As(err, &refusal) || refusal.Code != "idempotency_key_reused" || !strings.Contains(refusal.Detail, string(first)) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	// Of another name, or of none, it is another request.
	for _, other := range []intake.Request{request(tenant, "b"), {Tenant: tenant, Type: "dast"}} {
		if id, replayed, err := asked(in.AcceptURL(t.Context(), other, "https://example.com/")); id == first || replayed || err != nil {
			t.Errorf("scan %s, replayed %v, %v", id, replayed, err)
		}
	}
}

// TestReplayedArchive: the archive of a request that was accepted before is not
// kept.
func TestReplayedArchive(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	earlier := host.Earlier{Scan: host.Scan{ID: host.NewScanID()}}
	f.store.accept = func(s host.Scan) error {
		earlier.Digest = s.Once.Digest
		return &host.Repeated{Scans: map[host.ScanID]*host.Earlier{s.ID: &earlier}}
	}
	staged, err := f.Stage(t.Context(), "a.zip", strings.NewReader("PK"))
	if err != nil {
		t.Fatal(err)
	}
	req := request(host.NewTenantID(), "a")
	req.Type = "codeaudit"
	if id, replayed, err := asked(f.AcceptArchive(t.Context(), req, staged)); id != earlier.Scan.ID || !replayed || err != nil {
		t.Errorf("scan %s, replayed %v, %v", id, replayed, err)
	}
	if n := f.stored(t); n != 0 || f.woken.Load() != 0 {
		t.Errorf("%d blobs kept, woken %d times", n, f.woken.Load())
	}
}

// TestSameBatch: requests that share a batch and a key have one scan; when the
// first is refused the next has it.
func TestSameBatch(t *testing.T) {
	t.Parallel()
	const together = 20
	for name, c := range map[string]struct {
		fail                  func(call int) error
		scans, refused, calls int
	}{
		"accepted": {nil, 1, 0, 2},
		"first refused": {func(call int) error {
			if call == 2 {
				return fmt.Errorf("not this one: %w", host.ErrInvalid)
			}
			return nil
		}, 1, 1, 3},
		"store gone": {func(call int) error {
			if call > 1 {
				return host.ErrUnavailable
			}
			return nil
		}, 0, together, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &keys{fail: c.fail, entered: make(chan struct{})}
				in := newKeys(t, s)
				tenant := host.NewTenantID()
				var wg sync.WaitGroup
				wg.Go(func() { // keeps the committer busy while the others come
					if _, err := in.AcceptURL(t.Context(), request(tenant, "other"), "https://example.com/"); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				var mu sync.Mutex
				ids, refused := map[host.ScanID]bool{}, 0
				for range together {
					wg.Go(func() {
						id, _, err := asked(in.AcceptURL(t.Context(), request(tenant, "a"), "https://example.com/"))
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							refused++
						} else {
							ids[id] = true
						}
					})
				}
				synctest.Wait()
				close(s.entered)
				wg.Wait()
				if len(ids) != c.scans || refused != c.refused || s.calls != c.calls {
					t.Errorf("%d scans and %d refused in %d transactions, want %d, %d and %d", len(ids), refused, s.calls, c.scans, c.refused, c.calls)
				}
			})
		})
	}
}
