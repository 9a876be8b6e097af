package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// reloading is a host in this process whose file a test writes.
type reloading struct {
	n      *node
	file   string
	client *client.Client
	tenant host.TenantID
	log    *syncBuffer
}

// syncBuffer is a log that many write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startReloading runs a host with that file, with the plugins of the scripts.
func startReloading(t *testing.T, text string) *reloading {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "st-") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe, err := exec.LookPath("securetag") // TestMain put the plugins beside it
	if err != nil {
		t.Fatal(err)
	}
	r := &reloading{file: filepath.Join(dir, config.FileName), log: &syncBuffer{}}
	r.write(t, text)
	p := &program{version: "test", stdout: r.log, stderr: r.log}
	load := func() (*config.Loaded, error) {
		return p.loadWith(config.Options{Path: r.file, Dir: dir, Executable: exe, BuiltIn: p.builtIns()})
	}
	loaded, err := load()
	if err != nil {
		t.Fatal(err)
	}
	log := hclog.New(&hclog.LoggerOptions{Output: r.log, Level: hclog.Error})
	if r.n, err = openNode(t.Context(), loaded.Config, purpose{archives: archiveLimits(loaded.Config), lasting: true}, "test", log); err != nil {
		t.Fatal(err)
	}
	r.n.live.follow(loaded, load, nil)
	secret, err := createTenantKey(t.Context(), r.n.store, "default", "first")
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := r.n.store.TenantByName(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	r.tenant = tenant.ID
	r.client, err = client.New(r.n.url(), secret, client.Options{MinWait: 10 * time.Millisecond, MaxWait: 100 * time.Millisecond, IgnoreRetryAfter: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.n.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, r.n.close()); err != nil {
			t.Errorf("the host ended with %v", err)
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

func (r *reloading) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const reloadFile = `
server { listen = "127.0.0.1:0" }
log { level = "error" }
worker { slots = 4 }
limits {
  entries  = %d
  findings = %d
}
scan "codeaudit" {
  plugins  = ["noop"]
  attempts = %d
  timeout  = "%dm"
}
plugin "noop" {
  dev       = true
  sandbox   = "off"
  isolation = "shared"
  config { findings = 3 }
}
`

// TestReloadUnderLoad: 100 reloads, half of them with mistakes, while scans come
// and run. No scan is lost; each has the limits of one configuration and not a
// mixture, and is held to those that it was accepted and started with.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	generous := fmt.Sprintf(reloadFile, 100, 10, 2, 2)
	r := startReloading(t, generous)
	good := []string{
		generous,
		fmt.Sprintf(reloadFile, 100, 10, 5, 5),
		fmt.Sprintf(reloadFile, 1, 10, 3, 3),  // refuses an archive of two files
		fmt.Sprintf(reloadFile, 100, 2, 4, 4), // one finding too few
	}
	bad := []string{
		strings.Replace(generous, "noop\"]", "nope\"]", 1), "limits {", strings.Replace(generous, "2m", "2 minutes", 1) + "\nfoo = 1\n",
	}
	archive := twoFiles(t)
	loading := make(chan struct{})
	var uploaders sync.WaitGroup
	var scans, refused atomic.Int64
	for range 3 {
		uploaders.Go(func() {
			for !closed(loading) {
				s, err := r.client.Upload(t.Context(), bytes.NewReader(archive), client.UploadOptions{})
				var p *client.Error
				switch {
				case err == nil:
					scans.Add(1)
					r.check(t, s.ID)
				case errors.As(err, &p) && p.Code == "archive_too_many_entries":
					refused.Add(1)
				default:
					t.Errorf("an upload was refused with %v", err)
				}
			}
		})
	}
	for i := range 100 {
		text, wrong := good[i/2%len(good)], i%2 == 1
		if wrong {
			text = bad[i/2%len(bad)]
		}
		r.write(t, text)
		before := r.n.live.config()
		_, err := r.n.live.Reload(t.Context())
		if (err != nil) != wrong {
			t.Fatalf("reload %d: %v, want a mistake: %v", i, err, wrong)
		}
		if wrong && (!errors.Is(err, host.ErrInvalid) || cmp.Diff(before.Limits, r.n.live.config().Limits) != "" || r.n.live.State().Failed.IsZero()) {
			t.Errorf("reload %d failed with %v and changed something, or does not say so", i, err)
		}
	}
	close(loading)
	uploaders.Wait()
	r.write(t, generous)
	if _, err := r.n.live.Reload(t.Context()); err != nil || !r.n.live.State().Failed.IsZero() {
		t.Errorf("the last reload: %v, state %+v", err, r.n.live.State())
	}
	if scans.Load() == 0 {
		t.Error("nothing ran meanwhile")
	}
	t.Logf("%d scans ran, %d were refused", scans.Load(), refused.Load())
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// twoFiles is an archive of two files.
func twoFiles(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range []string{"a", "b"} {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// check waits for a scan, and holds it against what it may have become.
func (r *reloading) check(t *testing.T, id string) {
	t.Helper()
	s, err := r.client.Wait(t.Context(), id, nil)
	if err != nil {
		t.Errorf("scan %s: %v", id, err)
		return
	}
	found := s.Counts.Info
	if whole, cut := s.State == client.StateSucceeded && found == 3, s.State == client.StatePartial && found == 2; !whole && !cut {
		t.Errorf("scan %s is %s with %d findings, want all 3 or partial with 2", id, s.State, found)
	}
	stored, err := r.n.store.Scan(t.Context(), r.tenant, host.ScanID(id))
	if err != nil {
		t.Errorf("scan %s: %v", id, err)
		return
	}
	for _, j := range stored.Jobs {
		if j.Timeout != time.Duration(j.MaxAttempts)*time.Minute {
			t.Errorf("scan %s has %d attempts and a timeout of %s: of two configurations", id, j.MaxAttempts, j.Timeout)
		}
	}
}
