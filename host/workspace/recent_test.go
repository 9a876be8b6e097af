package workspace_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	r := workspace.NewRecent(10)
	at := func(blob string, offset int64) *host.Archive {
		return &host.Archive{Blob: host.BlobKey(blob), Offset: offset}
	}
	r.Put(at("a", 0), []byte("1234"))
	r.Put(at("a", 4), []byte("5678"))
	r.Put(at("a", 0), []byte("again")) // stored once, never changed
	if got := string(r.Get(at("a", 0))) + string(r.Get(at("a", 4))); got != "12345678" {
		t.Errorf("kept %q", got)
	}
	r.Put(at("b", 0), []byte("abcd"))
	if r.Get(at("a", 0)) != nil || string(r.Get(at("a", 4))) != "5678" || string(r.Get(at("b", 0))) != "abcd" {
		t.Error("the oldest does not make room for the newest")
	}
	r.Put(at("c", 0), make([]byte, 11))
	if r.Get(at("c", 0)) != nil || r.Get(at("b", 0)) == nil {
		t.Error("one that is larger than all that is kept was kept, or took others with it")
	}
	if r.Get(at("b", 4)) != nil || r.Get(at("d", 0)) != nil {
		t.Error("what was never put is there")
	}
	var none *workspace.Recent
	none.Put(at("a", 0), nil)
	if none.Get(at("a", 0)) != nil {
		t.Error("nil keeps something")
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	r := workspace.NewRecent(1000)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				a := &host.Archive{Blob: host.BlobKey(fmt.Sprint(w)), Offset: int64(i)}
				r.Put(a, make([]byte, 7))
				if got := r.Get(a); got != nil && len(got) != 7 {
					t.Errorf("%d bytes came back", len(got))
				}
			}
		})
	}
	wg.Wait()
	kept := 0
	for w := range 4 {
		for i := range 500 {
			kept += len(r.Get(&host.Archive{Blob: host.BlobKey(fmt.Sprint(w)), Offset: int64(i)}))
		}
	}
	if kept > 1000 || kept < 994 {
		t.Errorf("%d bytes are kept, want just below 1000", kept)
	}
}
