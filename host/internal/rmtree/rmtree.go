// Package rmtree removes directory trees that somebody hostile made: of any
// depth, without permissions, full of links.
package rmtree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
)

const removeBatch = 1024

// Empty removes everything in bin, whatever a plugin made of it: directories
// without permissions, a path of any depth, links to elsewhere. It keeps one
// directory open at a time and little memory, by moving each directory that it
// finds up into bin instead of going down; os.RemoveAll keeps a descriptor
// open for every level. No link is followed.
func Empty(bin *os.Root) error {
	next := 0
	for {
		entries, err := ReadSome(bin, ".")
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
		return IgnoreMissing(bin.Remove(dir))
	}
	if err := bin.Chmod(dir, 0o700); err != nil {
		return IgnoreMissing(err)
	}
	for {
		entries, err := ReadSome(bin, dir)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return IgnoreMissing(bin.Remove(dir))
		}
		for _, sub := range entries {
			name := dir + "/" + sub.Name()
			if sub.IsDir() {
				err = moveUp(bin, name, next)
			} else {
				err = bin.Remove(name)
			}
			if IgnoreMissing(err) != nil {
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

// ReadSome reads some entries of a directory, none when it is empty. Always
// from the start: removing while reading on may skip entries.
func ReadSome(root *os.Root, name string) ([]fs.DirEntry, error) {
	d, err := root.Open(name)
	if err != nil {
		return nil, IgnoreMissing(err)
	}
	defer d.Close()
	entries, err := d.ReadDir(removeBatch)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return entries, nil
}

// IgnoreMissing makes "not there" no error.
func IgnoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
