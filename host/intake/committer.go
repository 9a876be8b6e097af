package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
)

const (
	// maxCommit is how many scans are accepted in one transaction. With archives
	// of host.InlineArchive each it is 4 MiB.
	maxCommit = 128
	// minPack is how many small archives are worth a file.
	minPack = 3
)

// committer stores scans. Those that come while a transaction is under way
// share the next one, so that a busy host commits batches, and an idle one
// waits for nobody. There is no goroutine of its own: whoever finds nobody at
// work stores what waits, and hands the work on with the answers.
type committer struct {
	store   host.ScanStore
	blobs   host.BlobStore
	remove  func(context.Context, host.BlobKey)
	packed  func(*host.Archive, []byte)
	timeout time.Duration
	log     hclog.Logger

	mu      sync.Mutex
	working bool
	waiting []*acceptance
}

// acceptance is one scan on its way.
type acceptance struct {
	scan  host.Scan
	once  *host.Once // the scan's
	quota host.Quota
	err   error
	turn  chan bool // true: it is stored or refused; false: store what waits, this one first
}

// errBrokeOff is of a scan about which the store has said nothing.
var errBrokeOff = fmt.Errorf("the transaction broke off: %w", host.ErrUnavailable)

// accept stores one scan. Errors are those of host.ScanStore.Accept, but
// *host.Shortage when there is no room for it, and *host.Earlier when it was
// asked for before. It takes at most twice the timeout, for the transaction that is under way and its own, and
// once more for each maxCommit scans that wait before it.
func (c *committer) accept(ctx context.Context, scan host.Scan, quota host.Quota) (host.Scan, error) {
	a := &acceptance{scan: scan, once: scan.Once, quota: quota, err: errBrokeOff, turn: make(chan bool, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, a)
	leads := !c.working
	c.working = true
	c.mu.Unlock()
	if leads || !<-a.turn {
		c.commit(ctx)
	}
	return a.scan, a.err
}

// commit stores what waits, the caller's scan with it, answers, and hands the
// work on.
func (c *committer) commit(ctx context.Context) {
	c.mu.Lock()
	n := min(len(c.waiting), maxCommit)
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	c.mu.Unlock()
	// Also when the store panics, which fails this request: the others must not
	// wait for ever for an answer.
	defer c.handOn(batch)

	// Whatever happens to this request, the others' scans are stored.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	c.put(ctx, batch)
}

// handOn gives the answers, and the work to who waits longest.
func (c *committer) handOn(batch []*acceptance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range batch[1:] {
		a.turn <- true
	}
	if c.working = len(c.waiting) > 0; c.working {
		c.waiting[0].turn <- false
	}
}

// put stores a batch. Of those that are the same request the first is stored,
// and the others hear of it.
func (c *committer) put(ctx context.Context, batch []*acceptance) {
	for len(batch) > 0 {
		first, later := apart(batch)
		c.putTogether(ctx, first)
		batch = repeated(first, later)
	}
}

// putTogether stores a batch in one transaction, without those for which there
// is no room or which were asked for before; when it is refused for another
// reason, each scan in its own, so that a bad one fails alone.
func (c *committer) putTogether(ctx context.Context, batch []*acceptance) {
	if len(batch) == 0 {
		return
	}
	scans, quotas := make([]host.Scan, len(batch)), map[host.TenantID]host.Quota{}
	for i, a := range batch {
		scans[i], quotas[a.scan.TenantID] = a.scan, a.quota
	}
	packs := c.pack(ctx, scans)
	stored, err := c.store.Accept(ctx, scans, quotas)
	if err != nil && !unsure(err) {
		for _, key := range packs {
			c.remove(ctx, key)
		}
		if rest := refused(batch, err); len(rest) < len(batch) {
			c.putTogether(ctx, rest)
			return
		}
		if len(batch) > 1 && ctx.Err() == nil {
			for _, a := range batch {
				c.putTogether(ctx, []*acceptance{a})
			}
			return
		}
	}
	for i, a := range batch {
		if a.err = err; err == nil {
			a.scan = stored[i]
		}
	}
}

// refused tells those of a batch of which the store says that there was no room
// for them or that they were asked for before, and gives the others.
func refused(batch []*acceptance, err error) (rest []*acceptance) {
	var over *host.OverQuota
	var before *host.Repeated
	if !errors.As(err, &over) && !errors.As(err, &before) {
		return batch
	}
	for _, a := range batch {
		switch id := a.scan.ID; {
		case over != nil && over.Scans[id] != nil:
			a.err = over.Scans[id]
		case before != nil && before.Scans[id] != nil:
			a.err = before.Scans[id]
		default:
			rest = append(rest, a)
		}
	}
	return rest
}

// pack moves the small archives of tenants that have several in the batch into a
// blob for each tenant: one file to sync, and little for the store to write. A
// single archive waits for nothing but the transaction when the store takes it,
// and the store takes all of them when the blob store does not.
func (c *committer) pack(ctx context.Context, scans []host.Scan) (keys []host.BlobKey) {
	small := map[host.TenantID][]*host.Archive{}
	for i, s := range scans {
		if a := s.Input.Archive; a != nil && a.Data != nil {
			own := *a // the caller keeps what it gave
			scans[i].Input.Archive = &own
			small[s.TenantID] = append(small[s.TenantID], &own)
		}
	}
	for _, archives := range small {
		if len(archives) < minPack {
			continue
		}
		key, err := c.putPack(ctx, archives)
		if err != nil {
			c.log.Warn("small archives are kept in the database: the blob store does not take them", "archives", len(archives), "error", err)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

func (c *committer) putPack(ctx context.Context, archives []*host.Archive) (host.BlobKey, error) {
	key, err := newBlobKey("packs/")
	if err != nil {
		return "", err
	}
	parts := make([]io.Reader, len(archives))
	for i, a := range archives {
		parts[i] = bytes.NewReader(a.Data)
	}
	if _, _, err := c.blobs.Put(ctx, key, io.MultiReader(parts...)); err != nil {
		return "", err
	}
	offset := int64(0)
	for _, a := range archives {
		data := a.Data
		a.Blob, a.Offset, a.Data = key, offset, nil
		offset += a.Size
		if c.packed != nil {
			c.packed(a, data)
		}
	}
	return key, nil
}
