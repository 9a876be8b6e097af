package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Sweep removes the temporary files that crashed writers left and returns how
// many. Files that someone is writing, in this process or another, stay.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	removed := 0
	err := s.eachName(ctx, ".", func(shard string) error {
		if len(shard) != shardLen {
			return nil
		}
		return s.eachName(ctx, shard, func(name string) error {
			if !strings.HasPrefix(name, tempPrefix) {
				return nil
			}
			gone, err := s.sweepOne(shard + "/" + name)
			if gone {
				removed++
			}
			return err
		})
	})
	if err != nil {
		return removed, fmt.Errorf("sweep blob directory: %w", err)
	}
	return removed, nil
}

func (s *Store) sweepOne(name string) (bool, error) {
	f, err := s.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer f.Close()
	free, err := tryLock(f)
	if err != nil || !free {
		return false, err
	}
	if err := s.root.Remove(name); err != nil {
		return false, ignoreMissing(err)
	}
	return true, nil
}

// eachName calls f for the names in a directory, a batch at a time, so that
// memory does not grow with the directory. The last error wins.
func (s *Store) eachName(ctx context.Context, dir string, f func(name string) error) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var errs error
	for {
		if ctx.Err() != nil {
			return errors.Join(errs, context.Cause(ctx))
		}
		names, err := d.Readdirnames(512)
		for _, name := range names {
			if ferr := f(name); ferr != nil {
				errs = ferr
			}
		}
		if errors.Is(err, io.EOF) {
			return errs
		}
		if err != nil {
			return errors.Join(errs, err)
		}
	}
}

// tryLock takes the file's lock unless another open file holds it. The lock
// goes when f is closed, or with the process.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}
