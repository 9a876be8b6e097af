package sdk

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// FileOptions says which files EachFile gives, and how many at once.
type FileOptions struct {
	MaxFileSize Bytes // larger files are left out and noted; 0: no limit
	// Skip leaves files out, and directories with all that is in them. nil:
	// nothing. It is called from one goroutine, while no file is open yet.
	Skip    func(path string) bool
	Workers int // files at once; 0: as many as Go uses CPUs
}

// EachFile gives every file of the tree that is not empty to f, several at once
// and in no order, and returns when the last call has. It reports progress. A
// file that cannot be listed, or for which f returns an error or panics, is noted
// and makes the result partial; the others go on. f should call out.Scanned for
// what it read. When ctx ends, its cause is returned.
func (t *Target) EachFile(ctx context.Context, opts FileOptions, f func(context.Context, File) error) error {
	files, err := t.list(ctx, opts)
	if err != nil {
		return err
	}
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	var done atomic.Uint64
	progress := func() {
		t.out.Progress(Progress{Phase: "matching", Done: done.Load(), Total: uint64(len(files)), Unit: "files"})
	}
	progress()
	work := make(chan File)
	var workers sync.WaitGroup
	for range min(opts.Workers, len(files)) {
		workers.Go(func() {
			for file := range work {
				if err := t.guarded(ctx, file, f); err != nil && ctx.Err() == nil {
					t.unreadable(file.Path, err)
				}
				done.Add(1)
				progress()
			}
		})
	}
feed:
	for _, file := range files {
		if ctx.Err() != nil {
			break // else it may go on by chance
		}
		select {
		case work <- file:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// list walks the tree first, so that progress has a total.
func (t *Target) list(ctx context.Context, opts FileOptions) (files []File, err error) {
	skip := opts.Skip
	if skip == nil {
		skip = func(string) bool { return false }
	}
	for file, err := range t.FilesExcept(ctx, skip) {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			t.unreadable(file.Path, err)
		case file.Size == 0 || skip(file.Path):
		case opts.MaxFileSize > 0 && Bytes(file.Size) > opts.MaxFileSize:
			t.tooLarge(file.Path, opts.MaxFileSize)
		default:
			files = append(files, file)
		}
	}
	return files, nil
}

// guarded makes a panic cost one file, not the process.
func (t *Target) guarded(ctx context.Context, file File, f func(context.Context, File) error) error {
	defer func() {
		if v := recover(); v != nil {
			// The value may quote the file; its type and where it was are enough.
			t.out.Log().Error("the scanner panicked on a file", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			t.out.Note(Note{Level: Warning, Path: file.Path, Summary: "the scanner failed on this file"})
			t.out.Partial("the scanner failed on some files")
		}
	}()
	return f(ctx, file)
}

func (t *Target) unreadable(path string, err error) {
	t.out.Note(Note{Level: Warning, Path: path, Summary: "could not be read: " + err.Error()})
	t.out.Partial("some files could not be read")
}

func (t *Target) tooLarge(path string, most Bytes) {
	t.out.Note(Note{Level: Warning, Path: path, Summary: fmt.Sprintf("larger than %s, not scanned", most)})
}
