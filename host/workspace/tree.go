package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// mkdir makes a directory that is new; its parent is there already.
func (w *walker) mkdir(path string) error {
	if w.root == nil {
		return nil
	}
	if err := w.root.Mkdir(path, 0o700); err != nil { // seal sets the mode for good
		return fmt.Errorf("unpack directory: %w", err)
	}
	return nil
}

// output is a file being unpacked.
type output struct{ f *os.File }

// create makes a file that must not exist yet; nil when only checking.
func (w *walker) create(path string) (*output, error) {
	if w.root == nil {
		return nil, nil
	}
	f, err := w.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("unpack file: %w", err)
	}
	return &output{f}, nil
}

func (o *output) write(p []byte) error {
	if _, err := o.f.Write(p); err != nil {
		return fmt.Errorf("unpack file: %w", err)
	}
	return nil
}

// finish closes the file, read-only when it is whole. Through the descriptor,
// so that neither a umask nor a name comes between.
func (o *output) finish(whole bool) error {
	var err error
	if whole {
		err = o.f.Chmod(0o444)
	}
	if err = errors.Join(err, o.f.Close()); err != nil {
		return fmt.Errorf("unpack file: %w", err)
	}
	return nil
}

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
		if errors.Is(err, io.EOF) {
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
