package workspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

const removeBatch = 1024

// empty removes everything in bin, whatever a plugin made of it: directories
// without permissions, a path of any depth, links to elsewhere. It keeps one
// directory open at a time and little memory, by moving each directory that it
// finds up into bin instead of going down; os.RemoveAll keeps a descriptor
// open for every level. No link is followed.
func empty(bin *os.Root) error {
	next := 0
	for {
		entries, err := readSome(bin, ".")
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		for _, e := range entries {
			if err := removeFlat(bin, e, &next); err != nil {
				return err
			}
		}
	}
}

// removeFlat removes one entry of bin, and moves the directories in it to bin.
func removeFlat(bin *os.Root, e fs.DirEntry, next *int) error {
	dir := e.Name()
	if !e.IsDir() {
		return ignoreMissing(bin.Remove(dir))
	}
	if err := bin.Chmod(dir, 0o700); err != nil {
		return ignoreMissing(err)
	}
	for {
		entries, err := readSome(bin, dir)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return ignoreMissing(bin.Remove(dir))
		}
		for _, sub := range entries {
			name := dir + "/" + sub.Name()
			if sub.IsDir() {
				err = moveUp(bin, name, next)
			} else {
				err = bin.Remove(name)
			}
			if ignoreMissing(err) != nil {
				return err
			}
		}
	}
}

// moveUp gives a directory a new name in bin. Moving a directory writes its
// "..", so it must be writable itself.
func moveUp(bin *os.Root, name string, next *int) error {
	if err := bin.Chmod(name, 0o700); err != nil {
		return err
	}
	for {
		*next++
		to := "d" + strconv.Itoa(*next)
		if _, err := bin.Lstat(to); err == nil {
			continue
		}
		return bin.Rename(name, to)
	}
}

// readSome reads some entries of a directory, none when it is empty. Always
// from the start: removing while reading on may skip entries.
func readSome(root *os.Root, name string) ([]fs.DirEntry, error) {
	d, err := root.Open(name)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer d.Close()
	entries, err := d.ReadDir(removeBatch)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return entries, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// discard removes name, a directory in own: it vanishes under its name at
// once, and is taken apart in a bin of its own, which a sweep finds again if
// this process dies meanwhile.
func discard(own *os.Root, name, bin string) error {
	if err := intoBin(own, name, bin); err != nil {
		return err
	}
	return emptyBin(own, bin)
}

func intoBin(own *os.Root, name, bin string) error {
	if err := own.Mkdir(bin, 0o700); err != nil {
		return fmt.Errorf("make a bin: %w", err)
	}
	// A plugin may have put something else in the place of its directory, and
	// chmod would follow a link.
	info, err := own.Lstat(name)
	if err == nil && info.IsDir() {
		err = own.Chmod(name, 0o700)
	}
	if err != nil {
		return errors.Join(ignoreMissing(err), own.Remove(bin))
	}
	if err := own.Rename(name, bin+"/d0"); err != nil {
		return errors.Join(ignoreMissing(err), own.Remove(bin))
	}
	return nil
}

func emptyBin(own *os.Root, bin string) error {
	b, err := own.OpenRoot(bin)
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = b.Close() }()
	if err := empty(b); err != nil {
		return err
	}
	return ignoreMissing(own.Remove(bin))
}
