package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// workspaces joins the blob store and the workspace manager to what the
// dispatcher asks for.
type workspaces struct {
	blobs   host.BlobStore
	manager *workspace.Manager
}

var _ host.Workspaces = workspaces{}

func (w workspaces) Prepare(ctx context.Context, c host.Claim) (host.Workspace, error) {
	work, releaseWork, err := w.manager.WorkDir(c.Job.ID, c.Job.Attempt)
	if err != nil {
		return host.Workspace{}, fmt.Errorf("prepare workspace: %w", err)
	}
	archive := c.Scan.Input.Archive
	if archive == nil {
		return host.Workspace{WorkDir: work, Release: releaseWork}, nil
	}
	tree, err := w.manager.Acquire(ctx, c.Scan.ID, func(ctx context.Context) (host.Blob, error) {
		return w.blobs.Open(ctx, archive.Blob)
	})
	if err != nil {
		releaseWork()
		return host.Workspace{}, unusable(err)
	}
	return host.Workspace{
		Root: tree.Root(), WorkDir: work,
		Release: func() { tree.Release(); releaseWork() },
	}, nil
}

// unusable tells an archive that will never unpack (it passed the check at
// upload, so it has changed, or a limit has) from a fault of this machine.
func unusable(err error) error {
	var refused *workspace.ArchiveError
	switch {
	case errors.As(err, &refused):
		return &host.Fault{Code: host.CodeInputUnusable, Message: "unpacking the archive: " + refused.Error(), Err: err}
	case errors.Is(err, host.ErrNotFound):
		return &host.Fault{Code: host.CodeInputUnusable, Message: "the uploaded archive is no longer stored", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	default:
		return &host.Fault{Code: host.CodeInternal, Message: "this host could not unpack the archive; its log has the details", Retryable: true, Err: err}
	}
}
