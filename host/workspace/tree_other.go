//go:build !linux

package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// tree is a directory that is being filled.
type tree struct {
	root *os.Root
	list listing
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{root: root, list: listing{long: true}}, nil
}

// like does nothing: nothing is remembered here.
func (t *tree) like(*tree) *tree { return t }

// makeTree makes the directory name in own and opens it.
func makeTree(own *os.File, name string, _ powers) (*tree, error) {
	dir := filepath.Join(own.Name(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return openTree(dir)
}

// findPowers finds none.
func findPowers(*os.File, string) powers { return powers{} }

func (t *tree) close() { _ = t.root.Close() }

// remove leaves all to a search.
func (t *tree) remove(*os.File, string) error { return errors.New("not remembered") }

// mkdir makes a directory that is new; its parent is there already.
func (t *tree) mkdir(path string) error {
	if err := t.root.Mkdir(path, 0o700); err != nil { // seal sets the mode for good
		return fmt.Errorf("unpack directory: %w", err)
	}
	return nil
}

// create makes a file that must not exist yet.
func (t *tree) create(path string) (output, error) {
	f, err := t.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("unpack file: %w", err)
	}
	return file{f}, nil
}

type file struct{ f *os.File }

func (o file) write(p []byte) error {
	if _, err := o.f.Write(p); err != nil {
		return fmt.Errorf("unpack file: %w", err)
	}
	return nil
}

func (o file) finish(whole bool) error {
	var err error
	if whole {
		err = o.f.Chmod(0o444)
	}
	if err = errors.Join(err, o.f.Close()); err != nil {
		return fmt.Errorf("unpack file: %w", err)
	}
	return nil
}

func (t *tree) seal() error { return seal(t.root) }

// seal makes dir and the directories below it read-only, which can only be
// done when nothing more is to be made in them. The tree has no links, and its
// depth is bounded by Limits.Depth.
func seal(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(512)
		for _, e := range entries {
			if e.IsDir() {
				if err := sealBelow(dir, e.Name()); err != nil {
					return err
				}
			}
		}
		if endOfDir(err) {
			return f.Chmod(0o555)
		}
		if err != nil {
			return err
		}
	}
}

func sealBelow(dir *os.Root, name string) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	return seal(sub)
}

// changed is not known.
func changed(fs.FileInfo) (at time.Time, ok bool) { return at, false }
