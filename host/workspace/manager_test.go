package workspace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// memBlob is an archive in memory that knows whether it was closed.
type memBlob struct {
	*bytes.Reader
	closed atomic.Bool
}

func (b *memBlob) Close() error { b.closed.Store(true); return nil }

func newBlob(data []byte) *memBlob { return &memBlob{Reader: bytes.NewReader(data)} }

func opens(data []byte) func(context.Context) (host.Blob, error) {
	return func(context.Context) (host.Blob, error) { return newBlob(data), nil }
}

func newManager(t *testing.T, dir string) *workspace.Manager {
	t.Helper()
	m, err := workspace.New(dir, workspace.Limits{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there (%v)", path, err)
	}
}

func TestAcquireShares(t *testing.T) {
	t.Parallel()
	m := newManager(t, t.TempDir())
	data := packZip(t, []item{file("d/a", "hello")})
	var opened atomic.Int32
	blob := newBlob(data)
	open := func(context.Context) (host.Blob, error) {
		opened.Add(1)
		return blob, nil
	}
	const jobs = 16
	trees := make([]*workspace.Tree, jobs)
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() {
			tree, err := m.Acquire(t.Context(), "scan", open)
			if err != nil {
				t.Errorf("job %d: %v", i, err)
				return
			}
			trees[i] = tree
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if opened.Load() != 1 || !blob.closed.Load() {
		t.Errorf("opened %d times, closed %v; want once and closed", opened.Load(), blob.closed.Load())
	}
	root := trees[0].Root()
	if !filepath.IsAbs(root) || trees[0].Summary().Files != 1 {
		t.Errorf("root %q, summary %+v", root, trees[0].Summary())
	}
	for i, tree := range trees {
		if tree.Root() != root {
			t.Errorf("job %d has the tree %s, job 0 %s", i, tree.Root(), root)
		}
		if body, err := os.ReadFile(filepath.Join(root, "d/a")); err != nil || string(body) != "hello" {
			t.Errorf("before release %d: %q, %v", i, body, err)
		}
		tree.Release()
		tree.Release() // must not count twice
	}
	gone(t, root)

	again, err := m.Acquire(t.Context(), "scan", opens(data))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	other, err := m.Acquire(t.Context(), "other", opens(data))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	if again.Root() == other.Root() {
		t.Error("two scans share a tree")
	}
}

func TestAcquireRefusal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newManager(t, dir)
	bad := packZip(t, []item{file("ok", "x"), file("../x", "dead")})
	_, err := m.Acquire(t.Context(), "scan", opens(bad))
	wantCode(t, refusalOf(t, err), workspace.CodePathEscape)
	broken := errors.New("blob store is down")
	_, err = m.Acquire(t.Context(), "scan", func(context.Context) (host.Blob, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("Acquire = %v, want the blob store's error", err)
	}
	if left := below(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	tree, err := m.Acquire(t.Context(), "scan", opens(packZip(t, []item{file("ok", "x")}))) // a failure is not remembered
	if err != nil {
		t.Fatal(err)
	}
	tree.Release()
}

func TestAcquirePanic(t *testing.T) {
	t.Parallel()
	m := newManager(t, t.TempDir())
	_, err := m.Acquire(t.Context(), "scan", func(context.Context) (host.Blob, error) { panic("decoder bug") })
	if err == nil || !strings.Contains(err.Error(), "decoder bug") {
		t.Errorf("Acquire = %v, want the panic as an error", err)
	}
}

// below lists what managers made in dir, but for their locks.
func below(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "h*", "[twx]*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// gate is an open func that waits until it may go on, or its context ends.
type gate struct {
	data    []byte
	waiting chan struct{} // closed once it was called
	release chan struct{}
	ended   atomic.Bool
}

func newGate(data []byte) *gate {
	return &gate{data: data, waiting: make(chan struct{}), release: make(chan struct{})}
}

func (g *gate) open(ctx context.Context) (host.Blob, error) {
	close(g.waiting)
	select {
	case <-g.release:
		return newBlob(g.data), nil
	case <-ctx.Done():
		g.ended.Store(true)
		return nil, context.Cause(ctx)
	}
}

// TestFirstWaiterLeaves: the one that started the extraction goes away, the
// second must still get the tree.
func TestFirstWaiterLeaves(t *testing.T) {
	t.Parallel()
	m := newManager(t, t.TempDir())
	g := newGate(packZip(t, []item{file("a", "x")}))
	stop := errors.New("first job was canceled")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := m.Acquire(ctx, "scan", g.open)
		first <- err
	}()
	<-g.waiting
	joined := make(chan *workspace.Tree, 1)
	entered := &signalCtx{Context: t.Context(), asked: make(chan struct{})}
	go func() {
		tree, err := m.Acquire(entered, "scan", g.open)
		if err != nil {
			t.Errorf("second job: %v", err)
		}
		joined <- tree
	}()
	<-entered.asked // the second waits in its select: it is counted in
	cancel(stop)
	if err := <-first; !errors.Is(err, stop) {
		t.Errorf("first job: %v, want its own cause", err)
	}
	close(g.release)
	tree := <-joined
	if tree == nil {
		return
	}
	if _, err := os.Stat(filepath.Join(tree.Root(), "a")); err != nil {
		t.Error(err)
	}
	tree.Release()
	gone(t, tree.Root())
}

// signalCtx says when somebody waits for it.
type signalCtx struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (c *signalCtx) Done() <-chan struct{} {
	c.once.Do(func() { close(c.asked) })
	return c.Context.Done()
}

// TestAllWaitersLeave: nobody wants the tree any more, so the extraction ends
// and the next one starts afresh.
func TestAllWaitersLeave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := workspace.New(dir, workspace.Limits{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(nil)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := m.Acquire(ctx, "scan", g.open)
		left <- err
	}()
	<-g.waiting
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire = %v, want canceled", err)
	}
	tree, err := m.Acquire(t.Context(), "scan", opens(packZip(t, []item{file("a", "x")})))
	if err != nil {
		t.Fatalf("Acquire after all had left: %v", err)
	}
	tree.Release()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if !g.ended.Load() {
		t.Error("the abandoned extraction was not canceled")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "h*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAcquireRace lets jobs of few scans come, go and change their mind.
func TestAcquireRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newManager(t, dir)
	data := packTar(t, []item{file("a/b", "hello"), file("c", "x")})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+n)%3 == 0 {
					go cancel()
				}
				tree, err := m.Acquire(ctx, host.ScanID(fmt.Sprint("scan", n%3)), opens(data))
				switch {
				case err == nil:
					if body, err := os.ReadFile(filepath.Join(tree.Root(), "a", "b")); string(body) != "hello" {
						t.Errorf("a tree in use holds %q, %v", body, err)
					}
					tree.Release()
				case !errors.Is(err, context.Canceled):
					t.Errorf("Acquire: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "h*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	m := newManager(t, t.TempDir())
	tree, err := m.Acquire(t.Context(), "scan", opens(packZip(t, []item{file("a", "x")})))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	gone(t, tree.Root())
	tree.Release() // late, and harmless
	if _, err := m.Acquire(t.Context(), "scan", opens(nil)); !errors.Is(err, host.ErrUnavailable) {
		t.Errorf("Acquire after Close = %v, want ErrUnavailable", err)
	}
}

// TestWiden: limits grow, and never shrink below what an archive was taken in
// under.
func TestWiden(t *testing.T) {
	t.Parallel()
	m, err := workspace.New(t.TempDir(), workspace.Limits{Entries: 1}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	data := packZip(t, []item{file("a", "1"), file("b", "2")})
	acquire := func(scan host.ScanID) error {
		tree, err := m.Acquire(t.Context(), scan, opens(data))
		if err == nil {
			tree.Release()
		}
		return err
	}
	var refused *workspace.ArchiveError
	if err := acquire("before"); !errors.As(err, &refused) {
		t.Errorf("two entries of one: %v, want a refusal", err)
	}
	for _, lim := range []workspace.Limits{{Entries: 2}, {Entries: 1, UnpackedBytes: 1, FileBytes: 1}} {
		if err := m.Widen(lim); err != nil {
			t.Fatal(err)
		}
		if err := acquire("after"); err != nil {
			t.Errorf("after Widen(%+v): %v", lim, err)
		}
	}
	if err := m.Widen(workspace.Limits{Entries: -1}); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("Widen to less than zero = %v", err)
	}
}
