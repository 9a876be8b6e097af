package intake_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/intake"
)

// store keeps one scan; accept and scan stand in for a store in trouble.
type store struct {
	intake.Store // the methods intake does not use
	accept       func(host.Scan) error
	scan         func(host.ScanID) (host.Scan, error)
	accepted     host.Scan
}

func (s *store) Accept(_ context.Context, scans []host.Scan, _ map[host.TenantID]host.Quota) ([]host.Scan, error) {
	for _, scan := range scans {
		if s.accept != nil {
			if err := s.accept(scan); err != nil {
				return nil, err
			}
		}
		scan.CreatedAt = time.Now()
		s.accepted = scan
	}
	return []host.Scan{s.accepted}, nil
}

func (s *store) Scan(_ context.Context, _ host.TenantID, id host.ScanID) (host.Scan, error) {
	if s.scan != nil {
		return s.scan(id)
	}
	return host.Scan{}, host.ErrNotFound
}

type fixture struct {
	*intake.Intake
	store *store
	dir   string // of the blobs
	woken atomic.Int32
	told  atomic.Int32 // that a scan was accepted
}

func checkZip(_ context.Context, r io.ReaderAt, _, _ int64) (intake.Summary, error) {
	head := make([]byte, 2)
	if _, err := r.ReadAt(head, 0); err != nil || string(head) != "PK" {
		return intake.Summary{}, intake.RefuseArchive("not_an_archive", "", "The first bytes are of no known format.", host.ErrInvalid)
	}
	return intake.Summary{Format: "zip", Files: 3, UnpackedBytes: 99, Dropped: 1}, nil
}

func newIntake(t *testing.T, check intake.CheckFunc) *fixture {
	t.Helper()
	f := &fixture{store: &store{}, dir: t.TempDir()}
	blobs, err := dirblob.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	types := []intake.ScanType{
		{Name: "codeaudit", Input: host.InputArchive, Plugins: []string{"secrets", "deps"}, Timeout: time.Hour, Attempts: 3},
		{Name: "web", Input: host.InputURL, Timeout: time.Hour, Attempts: 1},
		{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1},
	}
	f.Intake, err = intake.New(f.store, blobs, check, types, func() { f.woken.Add(1) },
		intake.Config{Accepted: func(host.Scan) { f.told.Add(1) }, MaxArchive: 1000, Inline: -1}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stored counts the blobs that are left.
func (f *fixture) stored(t *testing.T) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(f.dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAcceptArchive(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	body := "PK" + strings.Repeat("x", 998) // exactly the limit
	staged, err := f.Stage(t.Context(), `C:\src\shop\u202e.zip`, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	tenant := host.NewTenantID()
	scan, err := f.AcceptArchive(t.Context(), intake.Request{
		Tenant: tenant, Type: "codeaudit", Project: "shop", Options: []byte(` {"secrets": {"b":1, "a":"<x>" } } `),
	}, staged)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	want := host.Archive{
		Blob: scan.Input.Archive.Blob, Filename: "u202e.zip", Format: "zip", Size: 1000, SHA256: hex.EncodeToString(sum[:]),
		Files: 3, UnpackedBytes: 99, Dropped: 1,
	}
	if diff := cmp.Diff(want, *scan.Input.Archive); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	if string(scan.Options) != `{"secrets":{"a":"<x>","b":1}}` || scan.Project != "shop" || scan.TenantID != tenant {
		t.Errorf("scan = %+v", scan)
	}
	if len(f.store.accepted.Jobs) != 2 {
		t.Fatalf("accepted %d jobs, want one for each plugin", len(f.store.accepted.Jobs))
	}
	for i, plugin := range []string{"secrets", "deps"} {
		want := host.Job{
			ID: f.store.accepted.Jobs[i].ID, ScanID: scan.ID, TenantID: tenant, Plugin: plugin,
			State: host.StateQueued, MaxAttempts: 3, Timeout: time.Hour,
		}
		if diff := cmp.Diff(want, f.store.accepted.Jobs[i]); diff != "" || want.ID == "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
	}
	staged.Discard(t.Context())
	if f.stored(t) != 1 || f.woken.Load() != 1 {
		t.Errorf("%d blobs kept, woken %d times; want 1 and 1", f.stored(t), f.woken.Load())
	}
	if _, err := f.AcceptArchive(t.Context(), intake.Request{Tenant: tenant, Type: "codeaudit"}, staged); err == nil {
		t.Error("the same archive was accepted twice")
	}
	if f.stored(t) != 1 {
		t.Error("a second accept removed the blob of the first")
	}
}

func TestStageRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection broke")
	for name, c := range map[string]struct {
		body io.Reader
		want error
		code string
	}{
		"one byte too many": {strings.NewReader("PK" + strings.Repeat("x", 999)), host.ErrTooLarge, "archive_too_large"},
		"no archive":        {strings.NewReader("hello"), host.ErrInvalid, "archive_not_an_archive"},
		"empty":             {strings.NewReader(""), host.ErrInvalid, "archive_empty"},
		"reader fails":      {io.MultiReader(strings.NewReader("PK"), errReader{broken}), broken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newIntake(t, checkZip)
			staged, err := f.Stage(t.Context(), "a.zip", c.body)
			if staged != nil || !errors.Is(err, c.want) {
				t.Fatalf("Stage = %v, %v; want error %v", staged, err, c.want)
			}
			var refusal *intake.Refusal
			if errors.As(err, &refusal); c.code != "" && (refusal == nil || refusal.Code != c.code || refusal.Field != "file") {
				t.Errorf("refusal = %+v, want code %s", refusal, c.code)
			}
			if n := f.stored(t); n != 0 {
				t.Errorf("%d blobs left behind", n)
			}
		})
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// TestStageReadsNoFurther: the refusal comes at the limit, not at the end.
func TestStageReadsNoFurther(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	endless := &counter{r: zeros{}}
	if _, err := f.Stage(t.Context(), "", endless); !errors.Is(err, host.ErrTooLarge) {
		t.Fatalf("Stage of an endless stream: %v", err)
	}
	if endless.n > 1001 {
		t.Errorf("read %d bytes, the limit is 1000", endless.n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// TestCheckFailure: what is this host's fault is no refusal, and a sentinel
// from below does not tell the client that its scan was not found.
func TestCheckFailure(t *testing.T) {
	t.Parallel()
	f := newIntake(t, func(context.Context, io.ReaderAt, int64, int64) (intake.Summary, error) {
		return intake.Summary{}, host.ErrNotFound
	})
	_, err := f.Stage(t.Context(), "", strings.NewReader("PK"))
	var refusal *intake.Refusal
	if err == nil || errors.As(err, &refusal) || errors.Is(err, host.ErrNotFound) {
		t.Errorf("Stage = %v, want a plain error", err)
	}
	if n := f.stored(t); n != 0 {
		t.Errorf("%d blobs left behind", n)
	}
}

func TestChecksAreBounded(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	f := &fixture{store: &store{}, dir: t.TempDir()}
	blobs, err := dirblob.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	in, err := intake.New(f.store, blobs, func(context.Context, io.ReaderAt, int64, int64) (intake.Summary, error) {
		entered <- struct{}{}
		<-leave
		return intake.Summary{}, nil
	}, nil, func() {}, intake.Config{MaxChecks: 1}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() {
		_, err := in.Stage(t.Context(), "", strings.NewReader("PK"))
		first <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	go func() {
		_, err := in.Stage(ctx, "", strings.NewReader("PK"))
		second <- err
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("a second check beside the first: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestAcceptFails(t *testing.T) {
	t.Parallel()
	down := func(host.Scan) error { return host.ErrUnavailable }
	for name, c := range map[string]struct {
		accept func(host.Scan) error
		scan   func(host.ScanID) (host.Scan, error)
		req    intake.Request
		want   error
		blobs  int
		woken  int32
	}{
		"store refuses":       {accept: func(host.Scan) error { return host.ErrInvalid }, want: host.ErrInvalid},
		"lost, not committed": {accept: down, want: host.ErrUnavailable},
		"lost, but committed": {
			accept: down, scan: func(id host.ScanID) (host.Scan, error) { return host.Scan{ID: id}, nil },
			blobs: 1, woken: 1,
		},
		"lost, and nobody knows": {
			accept: down, scan: func(host.ScanID) (host.Scan, error) { return host.Scan{}, host.ErrUnavailable },
			want: host.ErrUnavailable, blobs: 1,
		},
		"bad project":     {req: intake.Request{Project: "a b"}, want: host.ErrInvalid},
		"bad options":     {req: intake.Request{Options: []byte(`[]`)}, want: host.ErrInvalid},
		"foreign options": {req: intake.Request{Options: []byte(`{"secret":{}}`)}, want: host.ErrInvalid},
		"flat options":    {req: intake.Request{Options: []byte(`{"secrets":7}`)}, want: host.ErrInvalid},
		"unknown type":    {req: intake.Request{Type: "nope"}, want: host.ErrNotFound},
		"type wants URLs": {req: intake.Request{Type: "dast"}, want: host.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newIntake(t, checkZip)
			f.store.accept, f.store.scan = c.accept, c.scan
			staged, err := f.Stage(t.Context(), "", strings.NewReader("PK"))
			if err != nil {
				t.Fatal(err)
			}
			c.req.Tenant = host.NewTenantID()
			if c.req.Type == "" {
				c.req.Type = "codeaudit"
			}
			if _, err := f.AcceptArchive(t.Context(), c.req, staged); !errors.Is(err, c.want) {
				t.Errorf("AcceptArchive: %v, want %v", err, c.want)
			}
			if n := f.stored(t); n != c.blobs {
				t.Errorf("%d blobs left, want %d", n, c.blobs)
			}
			if f.woken.Load() != c.woken || f.told.Load() != c.woken {
				t.Errorf("woken %d times, and told %d times, want %d", f.woken.Load(), f.told.Load(), c.woken)
			}
		})
	}
}

func TestAcceptAfterHangUp(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	staged, err := f.Stage(t.Context(), "", strings.NewReader("PK"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.AcceptArchive(ctx, intake.Request{Type: "codeaudit"}, staged); !errors.Is(err, context.Canceled) {
		t.Errorf("AcceptArchive after the client hung up: %v", err)
	}
	if n := f.stored(t); n != 0 {
		t.Errorf("%d blobs left", n)
	}
}

func TestAcceptURL(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	scan, err := f.AcceptURL(t.Context(), intake.Request{Tenant: host.NewTenantID(), Type: "dast"}, "https://example.com/a?b=c")
	if err != nil || scan.Input.URL != "https://example.com/a?b=c" || scan.Input.Archive != nil || f.woken.Load() != 1 {
		t.Errorf("AcceptURL = %+v, %v", scan, err)
	}
	if _, err := f.AcceptURL(t.Context(), intake.Request{Type: "web"}, "https://example.com"); !errors.Is(err, host.ErrNoPlugin) {
		t.Errorf("a type without plugins: %v, want ErrNoPlugin", err)
	}
	if err := f.Admit("codeaudit", host.InputURL); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("a URL for codeaudit: %v, want ErrNotFound", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ok := intake.ScanType{Name: "a", Input: host.InputURL, Timeout: 1, Attempts: 1}
	with := func(change func(*intake.ScanType)) []intake.ScanType {
		s := ok
		change(&s)
		return []intake.ScanType{s}
	}
	for name, types := range map[string][]intake.ScanType{
		"bad name":     with(func(s *intake.ScanType) { s.Name = "A" }),
		"reserved":     with(func(s *intake.ScanType) { s.Name = "scans" }),
		"twice":        {ok, ok},
		"no input":     with(func(s *intake.ScanType) { s.Input = "" }),
		"no timeout":   with(func(s *intake.ScanType) { s.Timeout = 0 }),
		"no attempts":  with(func(s *intake.ScanType) { s.Attempts = 0 }),
		"plugin twice": with(func(s *intake.ScanType) { s.Plugins = []string{"x", "y", "x"} }),
	} {
		if _, err := intake.New(&store{}, nil, nil, types, func() {}, intake.Config{}, hclog.NewNullLogger()); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
	if _, err := intake.New(&store{}, nil, nil, []intake.ScanType{ok}, func() {}, intake.Config{MaxArchive: -1}, hclog.NewNullLogger()); err == nil {
		t.Error("New took a negative limit")
	}
}

func TestFilename(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	for given, want := range map[string]string{
		"shop.zip":                       "shop.zip",
		"../../etc/passwd":               "passwd",
		"":                               "",
		"/":                              "",
		"a\x00b\nc\u202ed":               "a\uFFFDb\uFFFDc\uFFFDd",
		"\xff.zip":                       "\uFFFD.zip",
		"ü" + strings.Repeat("x", 300):   "ü" + strings.Repeat("x", 253),
		strings.Repeat("\U0001F600", 99): strings.Repeat("\U0001F600", 63),
	} {
		staged, err := f.Stage(t.Context(), given, bytes.NewReader([]byte("PK")))
		if err != nil {
			t.Fatal(err)
		}
		if got := staged.Archive().Filename; got != want {
			t.Errorf("filename %q became %q, want %q", given, got, want)
		}
	}
}

// TestUpdate: what was begun or accepted before keeps what it began with.
func TestUpdate(t *testing.T) {
	t.Parallel()
	f := newIntake(t, checkZip)
	types := f.Types()
	staged, err := f.Stage(t.Context(), "a.zip", strings.NewReader("PK"+strings.Repeat("x", 500)))
	if err != nil {
		t.Fatal(err)
	}
	types[0].Plugins, types[0].Attempts, types[0].Timeout = []string{"deps"}, 7, time.Minute
	if err := f.Update(types, 100); err != nil {
		t.Fatal(err)
	}
	types[0].Plugins[0] = "changed afterwards"
	if f.MaxArchive() != 100 || f.Types()[0].Attempts != 7 {
		t.Errorf("in force: at most %d bytes, %+v", f.MaxArchive(), f.Types()[0])
	}
	scan, err := f.AcceptArchive(t.Context(), intake.Request{Tenant: host.NewTenantID(), Type: "codeaudit"}, staged)
	if err != nil {
		t.Fatalf("an archive that was staged under the larger limit: %v", err)
	}
	if len(scan.Jobs) != 1 || scan.Jobs[0].Plugin != "deps" || scan.Jobs[0].MaxAttempts != 7 || scan.Jobs[0].Timeout != time.Minute {
		t.Errorf("jobs: %+v", scan.Jobs)
	}
	if _, err := f.Stage(t.Context(), "a.zip", strings.NewReader("PK"+strings.Repeat("x", 500))); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("an archive over the new limit: %v, want ErrTooLarge", err)
	}
	types[0].Timeout = 0
	if err := f.Update(types, 5000); err == nil || f.MaxArchive() != 100 || f.Types()[0].Timeout != time.Minute {
		t.Errorf("after a mistake: %v, at most %d bytes, %+v", err, f.MaxArchive(), f.Types()[0])
	}
}
