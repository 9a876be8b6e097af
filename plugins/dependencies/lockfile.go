package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/yarnlock"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/requirements"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemfilelock"
	scalibr "github.com/google/osv-scalibr/fs"

	"github.com/securetaghq/securetag/sdk"
)

var _ scalibr.FS = (*tree)(nil)

var errSlow = errors.New("reading it took longer than file_timeout")

// lockfile is one file and one extractor that wants it.
type lockfile struct {
	extractor filesystem.Extractor
	file      sdk.File
	tree      *tree
	timeout   time.Duration
}

// read extracts the packages. The engine's parsers cannot be stopped, so one
// that takes too long is left behind: it ends with the process, which serves
// one scan where isolation is per_scan.
func (l lockfile) read(ctx context.Context) ([]*extractor.Package, error) {
	b, err := l.tree.read(l.file.Path)
	if err != nil {
		return nil, err
	}
	type result struct {
		packages []*extractor.Package
		err      error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r.packages, r.err = nil, &crash{stack: debug.Stack()}
			}
			done <- r
		}()
		in, err := l.extractor.Extract(ctx, &filesystem.ScanInput{
			FS: l.tree, Path: l.file.Path, Info: info{l.file.Path, int64(len(b))}, Reader: newMemory(l.file.Path, b),
		})
		r.packages, r.err = in.Packages, err
	}()
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err == nil {
			r.err = l.incomplete()
		}
		return r.packages, r.err
	case <-timer.C:
		return nil, errSlow
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// incomplete says what the engine passes over in silence: a file that
// requirements include and that is not there, and what is behind a line that is too
// long for it. Of the others, it asks for files that need not be.
func (l lockfile) incomplete() error {
	some := func(names []string) string { return strings.Join(names[:min(len(names), 5)], ", ") }
	name := l.extractor.Name()
	if name == requirements.Name && len(l.tree.missed) > 0 {
		return fmt.Errorf("it includes %s, which could not be read", some(l.tree.missed))
	}
	if slices.Contains([]string{requirements.Name, yarnlock.Name, gemfilelock.Name}, name) && len(l.tree.long) > 0 {
		return fmt.Errorf("a line of %s is longer than 64 KiB, and what is behind it was not read", some(l.tree.long))
	}
	return nil
}

// crash is a panic of the engine. Its value may quote the file.
type crash struct{ stack []byte }

func (*crash) Error() string { return "the parser failed on it" }

// leftOut reports whether a directory is not looked into: what is in it was
// installed by a lockfile, or is the history.
func leftOut(dir string) bool {
	base := path.Base(dir)
	return base == "node_modules" || base == ".git"
}
