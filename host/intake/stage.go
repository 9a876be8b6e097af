package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/securetaghq/securetag/host"
)

const maxFilename = 255

// Staged is an archive that is stored and checked and belongs to no scan yet.
// Give it to AcceptArchive or Discard it. Not safe for concurrent use.
type Staged struct {
	in      *Intake
	archive host.Archive
	done    bool // handed over or removed
}

// Archive says what was staged.
func (s *Staged) Archive() host.Archive { return s.archive }

// Discard removes the blob, unless a scan owns it now. Idempotent; a nil
// Staged has nothing to remove. It works after ctx has ended.
func (s *Staged) Discard(ctx context.Context) {
	if s == nil || s.done {
		return
	}
	s.done = true
	s.in.remove(ctx, s.archive.Blob)
}

// Stage streams r into the blob store and checks the archive. Memory does not
// grow with its size. It fails with a *Refusal that wraps host.ErrTooLarge as
// soon as r is longer than the limit, or host.ErrInvalid when the archive must
// not be unpacked; an error of r is wrapped. On any error nothing stays stored.
// filename is what the client calls the archive and only ever shown.
func (in *Intake) Stage(ctx context.Context, filename string, r io.Reader) (*Staged, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("stage archive: %w", err)
	}
	key := host.BlobKey("archives/" + id.String())
	size, sum, err := in.blobs.Put(ctx, key, &limitReader{r: r, left: in.cfg.MaxArchive, limit: in.cfg.MaxArchive})
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		return nil, fmt.Errorf("stage archive: %w", err)
	}
	s := &Staged{in: in, archive: host.Archive{Blob: key, Filename: cleanFilename(filename), Size: size, SHA256: sum}}
	if err := in.inspect(ctx, &s.archive); err != nil {
		s.Discard(ctx)
		return nil, err
	}
	return s, nil
}

// inspect fills in what the check finds out.
func (in *Intake) inspect(ctx context.Context, a *host.Archive) error {
	if a.Size == 0 {
		return refuse(host.ErrInvalid, "archive_empty", "file", "The archive has no bytes at all.")
	}
	select {
	case in.checks <- struct{}{}:
		defer func() { <-in.checks }()
	case <-ctx.Done():
		return fmt.Errorf("wait to check archive: %w", context.Cause(ctx))
	}
	blob, err := in.blobs.Open(ctx, a.Blob)
	if err != nil {
		return archiveRefusal(err)
	}
	defer blob.Close()
	sum, err := in.check(ctx, blob, a.Size)
	if err != nil {
		return archiveRefusal(err)
	}
	a.Format, a.Files, a.UnpackedBytes, a.Dropped = sum.Format, sum.Files, sum.UnpackedBytes, sum.Dropped
	return nil
}

// remove deletes a blob that nothing needs. What fails here costs disk space
// and never a scan, so it is logged and the request goes on.
func (in *Intake) remove(ctx context.Context, key host.BlobKey) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.cfg.AcceptTimeout)
	defer cancel()
	if err := in.blobs.Delete(ctx, key); err != nil {
		in.log.Warn("staged archive left behind", "blob", key, "error", err)
	}
}

// limitReader refuses the first byte over the limit, and unlike
// io.LimitReader tells it from the end.
type limitReader struct {
	r           io.Reader
	left, limit int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		return int(l.left), TooLarge(l.limit)
	}
	l.left -= int64(n)
	return n, err
}

// TooLarge is the refusal of an archive that is over the limit, in bytes.
func TooLarge(limit int64) error {
	return refuse(host.ErrTooLarge, "archive_too_large", "file",
		"The archive is larger than the limit of %d bytes (%.4g MiB).", limit, float64(limit)/(1<<20))
}

// cleanFilename makes what a client called its file fit to be shown: the last
// element, valid UTF-8, printable, at most 255 bytes.
func cleanFilename(name string) string {
	name = path.Base(strings.ReplaceAll(strings.ToValidUTF8(name, "\uFFFD"), `\`, "/"))
	if name == "." || name == "/" {
		return ""
	}
	name = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) { // control and format characters, bidi overrides among them
			return '\uFFFD'
		}
		return r
	}, name)
	for len(name) > maxFilename {
		runes := []rune(name)
		name = string(runes[:len(runes)-1-(len(name)-maxFilename)/4])
	}
	return name
}
