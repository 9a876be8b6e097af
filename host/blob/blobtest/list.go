package blobtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// listAll reads every page and counts how often each key came. between is
// called after each page.
func listAll(t *testing.T, s host.BlobStore, limit int, between func(page int)) (map[host.BlobKey]int, []host.BlobInfo) {
	t.Helper()
	seen := map[host.BlobKey]int{}
	var all []host.BlobInfo
	cursor := ""
	for n := 0; ; n++ {
		page, next, err := s.List(t.Context(), cursor, limit)
		if err != nil {
			t.Fatalf("List behind %q: %v", cursor, err)
		}
		if len(page) > limit {
			t.Fatalf("a page of %d holds %d", limit, len(page))
		}
		for _, b := range page {
			seen[b.Key]++
		}
		all = append(all, page...)
		if next == "" {
			return seen, all
		}
		if next == cursor {
			t.Fatalf("List does not get beyond %q", cursor)
		}
		cursor = next
		between(n)
	}
}

func testList(t *testing.T, s host.BlobStore) {
	began := time.Now()
	want := map[host.BlobKey]int{}
	sizes := map[host.BlobKey]int64{}
	for i := range 57 {
		key := host.BlobKey(fmt.Sprintf("scans/0190-%d", i))
		if i%10 == 0 {
			key = host.BlobKey(fmt.Sprintf("a-%d", i))
		}
		want[key], sizes[key] = 1, int64(i)
		put(t, s, key, strings.Repeat("x", i))
	}
	put(t, s, "gone", "x")
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), "broken", iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Fatal("Put of a failing reader succeeded")
	}
	for _, limit := range []int{1, 7, 57, 100} {
		seen, all := listAll(t, s, limit, func(int) {})
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("pages of %d (-want +listed):\n%s", limit, diff)
		}
		for _, b := range all {
			// Far enough for a file system that keeps whole seconds.
			if b.Size != sizes[b.Key] || b.Modified.Before(began.Add(-time.Hour)) || b.Modified.After(time.Now().Add(time.Hour)) {
				t.Errorf("blob %s: %d bytes of %v", b.Key, b.Size, b.Modified)
			}
		}
	}
	if page, next, err := s.List(t.Context(), "", 0); len(page) != 57 || next != "" || err != nil {
		t.Errorf("a page of the usual size: %d blobs, next %q, %v", len(page), next, err)
	}
}

func testListEmpty(t *testing.T, s host.BlobStore) {
	if page, next, err := s.List(t.Context(), "", 10); len(page) != 0 || next != "" || err != nil {
		t.Errorf("List of nothing = %v, %q, %v", page, next, err)
	}
}

// testListWhileChanged deletes what was listed, as a sweep does, and puts new
// ones: what stays is listed once.
func testListWhileChanged(t *testing.T, s host.BlobStore) {
	stays := map[host.BlobKey]bool{}
	for i := range 40 {
		key := host.BlobKey(fmt.Sprintf("b-%d", i))
		put(t, s, key, "x")
		stays[key] = i%2 == 0
	}
	seen, _ := listAll(t, s, 5, func(page int) {
		put(t, s, host.BlobKey(fmt.Sprintf("new-%d", page)), "x")
		for key, stay := range stays {
			if !stay {
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	for key, stay := range stays {
		if n := seen[key]; n > 1 || stay && n != 1 {
			t.Errorf("blob %s, which stays: %v, was listed %d times", key, stay, n)
		}
	}
}

func testListRefuses(t *testing.T, s host.BlobStore) {
	put(t, s, "k", "x")
	if _, _, err := s.List(t.Context(), "../../etc/passwd", 1); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("List behind a cursor of no store = %v, want ErrInvalid", err)
	}
	gone := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, _, err := s.List(ctx, "", 1); !errors.Is(err, gone) {
		t.Errorf("List with an ended context = %v, want its cause", err)
	}
}
