package executor

import (
	"io"
	"os"
	"syscall"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/linehash"
)

// To hash the lines of a file costs some 50 ns a byte. A plugin chooses what is
// read, so that one scan of it cannot make the host read much.
const (
	maxHashedFile = 1 << 20
	maxHashed     = 16 << 20
)

// lineHasher gives findings the hashes of their lines.
type lineHasher struct{ read int64 }

// hash fills in LineHash where it can, from the tree at dir. Findings whose file
// is not there, is too large or no file have none.
func (l *lineHasher) hash(dir string, batch []host.Finding) {
	byPath := map[string]map[int]bool{}
	for _, f := range batch {
		if f.Location.Path == "" || f.Location.StartLine == 0 {
			continue
		}
		if byPath[f.Location.Path] == nil {
			byPath[f.Location.Path] = map[int]bool{}
		}
		byPath[f.Location.Path][f.Location.StartLine] = true
	}
	if dir == "" || len(byPath) == 0 || l.read >= maxHashed {
		return
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer func() { _ = root.Close() }() // nothing was written
	done := map[string]map[int]string{}
	for i := range batch {
		f := &batch[i]
		path := f.Location.Path
		if byPath[path] == nil {
			continue
		}
		if done[path] == nil {
			done[path] = map[int]string{}
			if text, ok := l.text(root, path); ok {
				done[path] = linehash.Of(text, byPath[path])
			}
		}
		f.LineHash = done[path][f.Location.StartLine]
	}
}

// text is the content of a file, unless it is one that is not hashed. It is
// opened so that even a pipe, which no tree of a host has, cannot hang.
func (l *lineHasher) text(root *os.Root, path string) ([]byte, bool) {
	if l.read >= maxHashed {
		return nil, false
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }() // nothing was written
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxHashedFile {
		return nil, false
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHashedFile))
	l.read += int64(len(text))
	return text, err == nil
}
