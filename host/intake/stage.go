package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"unicode"

	"github.com/google/uuid"

	"github.com/securetaghq/securetag/host"
)

const maxFilename = 255

// Staged is an archive that is kept and checked and belongs to no scan yet.
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
	if s.archive.Blob != "" {
		s.in.remove(ctx, s.archive.Blob)
	}
}

// Stage stores the archive that r gives and checks it. A small one is only kept
// in memory, for the store to take with its scan; a larger one is streamed into
// the blob store, and memory does not grow with its size. It fails with a
// *Refusal that wraps host.ErrTooLarge as soon as r is longer than the limit, or
// host.ErrInvalid when the archive must not be unpacked; an error of r is
// wrapped. On any error nothing stays stored. filename is what the client calls
// the archive and only ever shown.
func (in *Intake) Stage(ctx context.Context, filename string, r io.Reader) (*Staged, error) {
	return in.StageWithin(ctx, Bounds{}, filename, r)
}

// StageWithin is Stage for an archive that may be no more than b says. It fails
// with a *host.Shortage as soon as r is longer than the room that is left.
func (in *Intake) StageWithin(ctx context.Context, b Bounds, filename string, r io.Reader) (*Staged, error) {
	left, over := b.left(in.MaxArchive())
	s := &Staged{in: in, archive: host.Archive{Filename: cleanFilename(filename)}}
	err := in.keep(ctx, &s.archive, &limitReader{r: r, left: left, over: over})
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		var short *host.Shortage
		if errors.As(err, &short) {
			return nil, short
		}
		return nil, fmt.Errorf("stage archive: %w", err)
	}
	if err := in.inspect(ctx, &s.archive, b.Unpacked); err != nil {
		s.Discard(ctx)
		return nil, err
	}
	return s, nil
}

// keep reads all of r and notes where it is now.
func (in *Intake) keep(ctx context.Context, a *host.Archive, r io.Reader) error {
	head, whole, err := readHead(r, in.cfg.Inline)
	if err != nil {
		return err
	}
	if whole {
		sum := sha256.Sum256(head)
		a.Data, a.Size, a.SHA256 = head, int64(len(head)), hex.EncodeToString(sum[:])
		return nil
	}
	key, err := newBlobKey("archives/")
	if err != nil {
		return err
	}
	a.Size, a.SHA256, err = in.blobs.Put(ctx, key, io.MultiReader(bytes.NewReader(head), r))
	if err != nil {
		return err
	}
	a.Blob = key
	return nil
}

func newBlobKey(prefix string) (host.BlobKey, error) {
	id, err := uuid.NewV7()
	return host.BlobKey(prefix + id.String()), err
}

// heads are for reading what may be a small archive, one byte more than it may
// have.
var heads = sync.Pool{New: func() any { return new([host.InlineArchive + 1]byte) }} //nolint:gochecknoglobals // a pool has no state to depend on

// readHead reads up to limit bytes of r and says whether that was all of it.
func readHead(r io.Reader, limit int64) (head []byte, whole bool, err error) {
	if limit < 0 {
		return nil, false, nil
	}
	buf := heads.Get().(*[host.InlineArchive + 1]byte) //nolint:forcetypeassert // the pool has no others
	defer heads.Put(buf)
	n := 0
	for n <= int(limit) && err == nil {
		var m int
		m, err = r.Read(buf[n : limit+1])
		n += m
	}
	if whole = errors.Is(err, io.EOF); whole {
		err = nil
	}
	return bytes.Clone(buf[:n]), whole && n <= int(limit), err
}

// inspect fills in what the check finds out.
func (in *Intake) inspect(ctx context.Context, a *host.Archive, unpacked int64) error {
	if a.Size == 0 {
		return refuse(host.ErrInvalid, "archive_empty", "file", "The archive has no bytes at all.")
	}
	select {
	case in.checks <- struct{}{}:
		defer func() { <-in.checks }()
	case <-ctx.Done():
		return fmt.Errorf("wait to check archive: %w", context.Cause(ctx))
	}
	var stored io.ReaderAt = bytes.NewReader(a.Data)
	if a.Blob != "" {
		blob, err := in.blobs.Open(ctx, a.Blob)
		if err != nil {
			return archiveRefusal(err)
		}
		defer blob.Close()
		stored = blob
	}
	sum, err := in.check(ctx, stored, a.Size, unpacked)
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
	r    io.Reader
	left int64
	over func() error // what refuses it
}

func (l *limitReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		return int(l.left), l.over()
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
