package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// workspaces joins the blob store and the workspace managers to what the
// dispatcher asks for.
type workspaces struct {
	blobs host.BlobStore
	disk  *workspace.Manager
	// memory unpacks small archives; nil when there is no such place. On a
	// short scan, making and removing files on a disk is most of the work.
	memory *workspace.Manager
	recent *workspace.Recent
	// jobsOf is how many jobs a scan of a type has, most likely; nil: one.
	jobsOf func(scanType string) int
}

var _ host.Workspaces = workspaces{}

func (w workspaces) Prepare(ctx context.Context, c host.Claim, told func(host.Progress)) (host.Workspace, error) {
	work, releaseWork, err := w.disk.WorkDir(c.Job.ID, c.Job.Attempt)
	if err != nil {
		return host.Workspace{}, fmt.Errorf("prepare workspace: %w", err)
	}
	if c.Scan.Input.Archive == nil {
		return host.Workspace{WorkDir: work, Release: releaseWork}, nil
	}
	tree, err := w.unpack(ctx, c.Scan, c.Job.ID, told)
	if err != nil {
		releaseWork()
		return host.Workspace{}, unusable(err)
	}
	return host.Workspace{
		Root: tree.Root(), WorkDir: work, Give: tree.Give,
		Release: func() { tree.Release(); releaseWork() },
	}, nil
}

func (w workspaces) unpack(ctx context.Context, scan host.Scan, job host.JobID, told func(host.Progress)) (*workspace.Tree, error) {
	archive := scan.Input.Archive
	if !archive.RemovedAt.IsZero() {
		return nil, errArchiveRemoved
	}
	open := func(ctx context.Context) (host.Blob, error) {
		data := archive.Data
		if data == nil {
			data = w.recent.Get(archive)
		}
		if data != nil {
			return inline{bytes.NewReader(data)}, nil
		}
		blob, err := w.blobs.Open(ctx, archive.Blob)
		if err != nil || (archive.Offset == 0 && archive.Size == blob.Size()) {
			return blob, err
		}
		defer blob.Close()
		return partOf(blob, archive)
	}
	use := workspace.Use{Job: job, Told: func(files int) {
		told(host.Progress{Phase: "unpacking", Done: int64(files), Total: int64(archive.Files), Unit: "files"})
	}}
	if w.jobsOf != nil {
		use.Of = w.jobsOf(scan.Type)
	}
	if w.memory != nil && archive.UnpackedBytes <= maxInMemory {
		// Its limits hold whatever the row says of the archive's size; when it
		// has no room the disk has.
		if tree, err := w.memory.AcquireFor(ctx, scan.ID, use, open); err == nil || ctx.Err() != nil {
			return tree, err
		}
	}
	return w.disk.AcquireFor(ctx, scan.ID, use, open)
}

// partOf reads an archive out of a blob that holds several. Only small ones are
// kept so.
func partOf(blob host.Blob, a *host.Archive) (host.Blob, error) {
	if a.Offset < 0 || a.Size < 0 || a.Size > host.InlineArchive || a.Offset > blob.Size()-a.Size {
		return nil, fmt.Errorf("%d bytes at %d are no part of blob %s, which has %d", a.Size, a.Offset, a.Blob, blob.Size())
	}
	data := make([]byte, a.Size)
	if _, err := blob.ReadAt(data, a.Offset); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", a.Blob, err)
	}
	return inline{bytes.NewReader(data)}, nil
}

// inline is the blob of an archive that is in memory.
type inline struct{ *bytes.Reader }

func (inline) Close() error { return nil }

// recentBytes bounds the small archives that are kept in memory until their jobs
// run: some seconds of them, on a busy host.
const recentBytes = 8 << 20

// maxInMemory is the largest tree that is unpacked in memory; there is at most
// one for each slot.
const maxInMemory = 1 << 20

// openMemory makes a manager on a file system in memory, nil when dir is none,
// is not this user's alone, or is nearly full.
func openMemory(dir string, lim workspace.Limits, log hclog.Logger) *workspace.Manager {
	const room = 64 * maxInMemory
	var fs unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &fs) != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < room {
		return nil
	}
	own, err := ownDir(dir)
	if err != nil {
		log.Warn("archives are unpacked on disk only", "error", err)
		return nil
	}
	lim.UnpackedBytes, lim.FileBytes, lim.Entries = maxInMemory, maxInMemory, 1000
	m, err := workspace.New(own, lim, log)
	if err != nil {
		log.Warn("archives are unpacked on disk only", "error", err)
		return nil
	}
	return m
}

var errArchiveRemoved = errors.New("retention removed the archive")

// unusable tells an archive that will never unpack (it passed the check at
// upload, so it has changed, or a limit has) from a fault of this machine.
func unusable(err error) error {
	var refused *workspace.ArchiveError
	switch {
	case errors.As(err, &refused):
		return &host.Fault{Code: host.CodeInputUnusable, Message: "unpacking the archive: " + refused.Error(), Err: err}
	case errors.Is(err, errArchiveRemoved):
		return &host.Fault{Code: host.CodeInputUnusable, Message: "the archive was removed because of its age (retention.archives): upload it again", Err: err}
	case errors.Is(err, host.ErrNotFound):
		// Hosts that share a database and not the directory: one of them has it.
		return &host.Fault{Code: host.CodeInputUnusable, Retryable: true, Err: err,
			Message: "the uploaded archive is not stored where this host looks: hosts that share a database must share data_dir"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	default:
		return &host.Fault{Code: host.CodeInternal, Message: "this host could not unpack the archive; its log has the details", Retryable: true, Err: err}
	}
}
