package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

const (
	maxOpens = 200    // files that one lockfile may refer to
	maxDepth = 10_000 // of brackets in one file: what encoding/json takes
	maxParts = 256    // of one dotted key of TOML, whose parser takes the square of it
)

var (
	errTooLarge = errors.New("it is larger than max_file_size")
	errTooDeep  = errors.New("it is nested too deep")
)

// tree is what an extractor sees of the target while it reads one lockfile: its
// regular files, each whole and in memory, so that it cannot leave the target,
// hang on a pipe, keep files open or read without end.
type tree struct {
	open   func(path string) (*os.File, error)
	stat   func(path string) (fs.FileInfo, error)
	max    int64
	opens  int
	missed []string // files that were asked for and could not be had
	long   []string // files with a line at which a bufio.Scanner stops
}

// read gives a file whose size and depth are within the bounds. A parser that
// recurses would take the process down where Go cannot recover.
func (t *tree) read(name string) ([]byte, error) {
	f, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, t.max+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > t.max:
		return nil, errTooLarge
	case tooDeep(b), isTOML(name) && tooDotted(b):
		return nil, errTooDeep
	}
	if longLine(b) {
		t.long = append(t.long, name)
	}
	return b, nil
}

func longLine(b []byte) bool {
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if len(line) >= bufio.MaxScanTokenSize {
			return true
		}
	}
	return false
}

// tooDeep counts brackets wherever they stand. Those in strings come in pairs
// or are few.
func tooDeep(b []byte) bool {
	depth := 0
	for _, c := range b {
		switch c {
		case '[', '{', '(':
			if depth++; depth > maxDepth {
				return true
			}
		case ']', '}', ')':
			depth = max(depth-1, 0)
		}
	}
	return false
}

func isTOML(name string) bool {
	switch path.Base(name) {
	case "Cargo.lock", "poetry.lock", "pdm.lock", "uv.lock":
		return true
	}
	return path.Ext(name) == ".toml"
}

// tooDotted counts the dots between what ends a key, and those in strings too.
func tooDotted(b []byte) bool {
	dots := 0
	for _, c := range b {
		switch c {
		case '.':
			if dots++; dots > maxParts {
				return true
			}
		case '=', ',', '{', '}', '\n':
			dots = 0
		}
	}
	return false
}

// Open implements fs.FS.
func (t *tree) Open(name string) (fs.File, error) {
	name = path.Clean(name)
	if t.opens++; t.opens > maxOpens {
		t.missed = append(t.missed, name)
		return nil, fmt.Errorf("more than %d files", maxOpens)
	}
	b, err := t.read(name)
	if err != nil {
		t.missed = append(t.missed, name)
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return newMemory(name, b), nil
}

// Stat implements fs.StatFS. A directory is said to be one: the engine then
// looks inside it.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	name = path.Clean(name)
	if t.opens++; t.opens > maxOpens {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fmt.Errorf("more than %d files", maxOpens)}
	}
	return t.stat(name)
}

// ReadDir implements fs.ReadDirFS: nothing that is used here lists directories.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.ErrUnsupported}
}

// memory is a file that was read.
type memory struct {
	*bytes.Reader
	info info
}

func newMemory(name string, b []byte) *memory {
	return &memory{bytes.NewReader(b), info{name, int64(len(b))}}
}

func (m *memory) Stat() (fs.FileInfo, error) { return m.info, nil }
func (m *memory) Close() error               { return nil }

// info is what extractors ask of a regular file.
type info struct {
	path string
	size int64
}

func (i info) Name() string       { return path.Base(i.path) }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return 0o444 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }

// candidate asks an extractor about a file by its path.
type candidate struct{ sdk.File }

func (c candidate) Path() string               { return c.File.Path }
func (c candidate) Stat() (fs.FileInfo, error) { return info{c.File.Path, c.Size}, nil }
