package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/securetaghq/securetag/host"
)

// originKey is the blob that names the database to which all others belong.
const originKey host.BlobKey = "origin"

// own reports whether the blobs belong to this database, and makes them its own
// when they are nobody's.
func (s *Sweeper) own(ctx context.Context) error {
	mine, err := s.store.Origin(ctx)
	if err != nil {
		return err
	}
	for range 2 { // another host may write it in between
		theirs, err := s.origin(ctx)
		switch {
		case err == nil && theirs == mine:
			return nil
		case err == nil:
			return fmt.Errorf("the blobs belong to another database (%.64q, this one is %q), so none is removed; delete the blob %q if this one takes them over: %w",
				theirs, mine, string(originKey), host.ErrConflict)
		case !errors.Is(err, host.ErrNotFound):
			return err
		}
		if _, _, err := s.blobs.Put(ctx, originKey, strings.NewReader(mine)); err != nil && !errors.Is(err, host.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("the blob %q comes and goes: %w", string(originKey), host.ErrConflict)
}

// origin reads that blob.
func (s *Sweeper) origin(ctx context.Context) (string, error) {
	b, err := s.blobs.Open(ctx, originKey)
	if err != nil {
		return "", err
	}
	defer b.Close()
	text, err := io.ReadAll(io.LimitReader(b, 65)) // one byte more than any has
	if err != nil {
		return "", fmt.Errorf("read blob %s: %w", originKey, err)
	}
	return string(text), nil
}
