package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/securetaghq/securetag/host"
)

const maxPage = 1000

// List implements host.BlobStore. The order is that of the files' names, shard
// by shard, and the cursor is the last one. Memory does not grow with a shard:
// of its names only the next page's are kept.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]host.BlobInfo, string, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	if _, ok := keyOf(cursor); cursor != "" && !ok {
		return nil, "", fmt.Errorf("list blobs: cursor %.64q is none of a blob directory: %w", cursor, host.ErrInvalid)
	}
	names, err := s.namesBehind(ctx, cursor, limit)
	if err != nil {
		return nil, "", fmt.Errorf("list blobs: %w", err)
	}
	page := make([]host.BlobInfo, 0, len(names))
	for _, name := range names {
		info, err := s.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, "", fmt.Errorf("list blobs: %w", err)
		}
		key, _ := keyOf(name)
		page = append(page, host.BlobInfo{Key: key, Size: info.Size(), Modified: info.ModTime()})
	}
	if len(names) < limit {
		return page, "", nil
	}
	return page, names[len(names)-1], nil
}

// namesBehind gives the next names of blobs, at most limit.
func (s *Store) namesBehind(ctx context.Context, cursor string, limit int) ([]string, error) {
	shards, err := s.shardsFrom(path.Dir(cursor))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, shard := range shards {
		if len(names) == limit {
			break
		}
		some, err := s.namesIn(ctx, shard, cursor, limit-len(names))
		if err != nil {
			return nil, err
		}
		names = append(names, some...)
	}
	return names, nil
}

// shardsFrom gives the shards that are there, in order, without those before
// first; "." is before all of them.
func (s *Store) shardsFrom(first string) ([]string, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1) // 4096 and few others
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return len(n) != shardLen || n < first })
	slices.Sort(names)
	return names, nil
}

// namesIn gives the least names of a shard's blobs behind cursor.
func (s *Store) namesIn(ctx context.Context, shard, cursor string, limit int) ([]string, error) {
	var least []string // sorted, at most limit
	err := s.eachName(ctx, shard, func(name string) error {
		name = shard + "/" + name
		if name <= cursor || len(least) == limit && name >= least[limit-1] {
			return nil
		}
		if _, ok := keyOf(name); !ok {
			return nil // being written, or somebody else's
		}
		i, _ := slices.BinarySearch(least, name)
		least = slices.Insert(least, i, name)
		least = least[:min(len(least), limit)]
		return nil
	})
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, nil // somebody else's
	}
	return least, err
}

// keyOf is the key whose blob is kept under a name; false when it is none's.
func keyOf(name string) (host.BlobKey, bool) {
	_, file, _ := strings.Cut(name, "/")
	key := host.BlobKey(strings.ReplaceAll(file, ".", "/"))
	made, err := fileName(key)
	return key, err == nil && made == name
}
