package workspace

import (
	"errors"
	"io"
	"sync/atomic"
)

// output is a file being unpacked.
type output interface {
	write(p []byte) error
	// finish closes the file, which is read-only when it is whole.
	finish(whole bool) error
}

// listing is what was made in a tree, so that it can be taken apart without
// looking for it. A plugin may have added to it or changed it: whatever is not
// as it was made is left to a search.
type listing struct {
	dirs  []string // a directory stands before what is in it
	files []string
	long  bool          // there was more than is worth remembering
	count *atomic.Int64 // of files; nil: nobody asks
}

// maxListing bounds what is remembered of a tree that is in use.
const maxListing = 64

func (l *listing) dir(path string) { l.add(&l.dirs, path) }

func (l *listing) file(path string) {
	if l.add(&l.files, path); l.count != nil {
		l.count.Add(1)
	}
}

// large reports whether to remove the tree takes some time.
func (t *tree) large() bool { return t.list.long }

func (l *listing) add(to *[]string, path string) {
	if l.long = l.long || len(l.dirs)+len(l.files) == maxListing; !l.long {
		*to = append(*to, path)
	}
}

// split parts a path into its directory ("" for none) and its last segment.
func split(path string) (dir, base string) {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return "", path
}

// powers are what this process can do in the directory that trees are made in.
// Each saves a system call for every file or directory; without them all is done
// step by step.
type powers struct {
	exact bool // what is made gets the very mode it is made with: no umask and no default ACL takes from it
	above bool // it may write in a read-only directory, as root may
}

// sealed reports whether a directory can be made read-only from the start.
func (p powers) sealed() bool { return p.exact && p.above }

func endOfDir(err error) bool { return errors.Is(err, io.EOF) }
