package retention_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/retention"
	"github.com/securetaghq/securetag/host/sqlite"
)

// crashEnv makes the test binary a host on the directory that it names, which
// dies between the rows of a batch and its blobs.
const crashEnv = "SECURETAG_TEST_RETENTION"

// batch is how many scans that host removes at once.
const batch = 3

// diesAtBlobs is a blob store whose process is killed by its first Delete.
type diesAtBlobs struct{ *dirblob.Store }

func (diesAtBlobs) Delete(context.Context, host.BlobKey) error {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func openBoth(ctx context.Context, dir string, ago time.Duration) (*sqlite.Store, *dirblob.Store, error) {
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "db"), Now: func() time.Time { return time.Now().Add(-ago) }})
	if err != nil {
		return nil, nil, err
	}
	blobs, err := dirblob.New(filepath.Join(dir, "blobs"))
	return store, blobs, err
}

func crash(dir string) int {
	store, blobs, err := openBoth(context.Background(), dir, 0)
	if err == nil {
		var s *retention.Sweeper
		s, err = retention.New(store, diesAtBlobs{blobs}, nil, retention.Config{Scans: host.Keep{Most: time.Hour}, Every: time.Millisecond, Batch: batch}, hclog.NewNullLogger())
		if err == nil {
			err = s.Run(context.Background())
		}
	}
	fmt.Println("it did not die:", err)
	return 1
}

// TestCrashBetweenRowsAndBlobs has a host killed when the rows of old scans are
// gone and their blobs are not. The next one's sweep for orphans finds those,
// and nothing else.
func TestCrashBetweenRowsAndBlobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, blobs, err := openBoth(t.Context(), dir, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t"}
	if err := old.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	waiting := accept(t, old, blobs, tenant.ID, 0)
	for n := range batch {
		scan := accept(t, old, blobs, tenant.ID, n+1)
		if _, err := old.Cancel(t.Context(), tenant.ID, scan.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	dies(t, dir)
	store, _, err := openBoth(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if scans, err := store.Scans(t.Context(), tenant.ID, host.ScanQuery{}); err != nil || len(scans) != 1 {
		t.Fatalf("scans left: %v, %v; want the one that waits", scans, err)
	}
	if n := count(t, blobs); n != 4 {
		t.Fatalf("%d blobs are left after the crash, want all 4", n)
	}

	swept := make(chan host.Swept, 100)
	s, err := retention.New(store, blobs, nil,
		retention.Config{Orphans: time.Millisecond, Grace: time.Nanosecond, Meter: tells{swept: swept}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if got := <-swept; got.Blobs != 3 || got.Bytes != 21 || got.Failed {
		t.Errorf("the sweep said %+v, want 3 blobs of 7 bytes", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b, err := blobs.Open(t.Context(), waiting.Input.Archive.Blob)
	if err != nil || count(t, blobs) != 1 {
		t.Fatalf("the blob of the scan that waits: %v; %d archives", err, count(t, blobs))
	}
	b.Close()
}

// accept makes a scan of the project p, with an archive.
func accept(t *testing.T, store *sqlite.Store, blobs *dirblob.Store, tenant host.TenantID, n int) host.Scan {
	t.Helper()
	key := host.BlobKey(fmt.Sprintf("archives/%d", n))
	if _, _, err := blobs.Put(t.Context(), key, strings.NewReader("archive")); err != nil {
		t.Fatal(err)
	}
	scans, err := store.Accept(t.Context(), []host.Scan{{ID: host.NewScanID(), TenantID: tenant, Type: "codeaudit", Project: "p",
		Input: host.Input{Archive: &host.Archive{Blob: key, Size: 7}},
		Jobs:  []host.Job{{ID: host.NewJobID(), Plugin: "p", MaxAttempts: 1, Timeout: time.Hour}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scans[0]
}

// dies runs a host on the directory, which is killed.
func dies(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the host ended with %v: %s", err, out)
	}
}

// TestCrashWhileDeleting has a host killed in the middle of a project's deletion.
// The next one goes on where it was: all rows go, each once, and so do all blobs,
// those of the batch that it died in as orphans.
func TestCrashWhileDeleting(t *testing.T) {
	t.Parallel()
	const scans = 2*batch + 1
	dir := t.TempDir()
	store, blobs, err := openBoth(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	defer blobs.Close()
	tenant := host.Tenant{ID: host.NewTenantID(), Name: "t"}
	if err := store.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	for n := range scans {
		accept(t, store, blobs, tenant.ID, n)
	}
	d, err := store.DeleteProject(t.Context(), tenant.ID, "p")
	if err != nil {
		t.Fatal(err)
	}
	dies(t, dir)
	if d, err = store.Deletion(t.Context(), tenant.ID, d.ID); err != nil || d.Scans != scans || d.Left != scans-batch || count(t, blobs) != scans {
		t.Fatalf("after the crash: %+v, %v, and %d blobs", d, err, count(t, blobs))
	}

	swept := make(chan host.Swept, 1000)
	s, err := retention.New(store, blobs, nil, retention.Config{Every: time.Millisecond, Orphans: time.Millisecond, Grace: time.Nanosecond,
		Batch: batch, Pause: time.Millisecond, Meter: tells{swept: swept}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var rows, files int
	for rows < scans-batch || files < scans {
		got := <-swept
		rows, files = rows+got.Scans, files+got.Blobs
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := store.DropDeleted(t.Context(), batch); err != nil { // the turn that sees that nothing is left
		t.Error(err)
	}
	d, err = store.Deletion(t.Context(), tenant.ID, d.ID)
	if err != nil || d.Left != 0 || d.FinishedAt.IsZero() || count(t, blobs) != 0 || rows != scans-batch {
		t.Errorf("in the end: %+v, %v, %d blobs, %d rows", d, err, count(t, blobs), rows)
	}
	if u, err := store.Usage(t.Context(), tenant.ID); err != nil || u.Storage != 0 || u.QueuedScans != 0 {
		t.Errorf("usage %+v, %v, want all given back, once", u, err)
	}
}

// count counts the archives.
func count(t *testing.T, s host.BlobStore) int {
	t.Helper()
	page, _, err := s.List(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(page, func(b host.BlobInfo) bool { return b.Key == "origin" }))
}

type tells struct {
	host.NoMeter
	swept chan<- host.Swept
}

func (m tells) Swept(s host.Swept) {
	select {
	case m.swept <- s:
	default: // nobody reads any more
	}
}
