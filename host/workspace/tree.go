package workspace

import (
	"errors"
	"io"
)

// output is a file being unpacked.
type output interface {
	write(p []byte) error
	// finish closes the file, read-only when it is whole. Through the
	// descriptor, so that neither a umask nor a name comes between.
	finish(whole bool) error
}

// listing is what was made in a tree, so that it can be taken apart without
// looking for it. A plugin may have added to it or changed it: whatever is not
// as it was made is left to a search.
type listing struct {
	dirs  []string // a directory stands before what is in it
	files []string
	long  bool // there was more than is worth remembering
}

// maxListing bounds what is remembered of a tree that is in use.
const maxListing = 64

func (l *listing) dir(path string)  { l.add(&l.dirs, path) }
func (l *listing) file(path string) { l.add(&l.files, path) }

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

func endOfDir(err error) bool { return errors.Is(err, io.EOF) }
