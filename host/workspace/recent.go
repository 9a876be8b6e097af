package workspace

import (
	"sync"

	"github.com/securetaghq/securetag/host"
)

// Recent keeps the last small archives that this host accepted, because their
// jobs mostly run next, and here. Safe for concurrent use; nil keeps nothing.
type Recent struct {
	most int

	mu    sync.Mutex
	bytes int
	data  map[place][]byte
	order []place // oldest first
}

// place is where an archive is stored.
type place struct {
	blob   host.BlobKey
	offset int64
}

// NewRecent keeps at most that many bytes.
func NewRecent(bytes int) *Recent { return &Recent{most: bytes, data: map[place][]byte{}} }

// Put keeps an archive that was stored in a blob. Nobody may change data any more.
func (r *Recent) Put(a *host.Archive, data []byte) {
	if r == nil || len(data) > r.most {
		return
	}
	at := place{a.Blob, a.Offset}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.data[at]; ok {
		return
	}
	r.data[at] = data
	r.order = append(r.order, at)
	r.bytes += len(data)
	for r.bytes > r.most {
		r.bytes -= len(r.data[r.order[0]])
		delete(r.data, r.order[0])
		r.order = r.order[1:]
	}
}

// Get returns an archive's bytes, nil when they are not kept. Do not change them.
func (r *Recent) Get(a *host.Archive) []byte {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data[place{a.Blob, a.Offset}]
}
