package sdk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

const (
	defaultMaxFile = 1 * MiB
	defaultMaxLine = 64 * KiB
	binaryProbe    = 8000 // bytes looked at for a NUL, as git does
)

// LineOptions says which files and lines EachLine gives.
type LineOptions struct {
	MaxFileSize Bytes                  // larger files are left out; 0: 1 MiB
	MaxLine     Bytes                  // longer lines are cut; 0: 64 KiB
	Match       func(path string) bool // nil: every file
	Binary      bool                   // also files with a NUL in their first bytes
}

// Line is one line of a text file.
type Line struct {
	Path   string
	Number int    // 1-based
	Text   string // without its line end, LF or CRLF
	Cut    bool   // the line was longer
}

// At is the place of l.Text[from:to].
func (l Line) At(from, to int) Location {
	return Location{Path: l.Path, StartLine: l.Number, StartColumn: from + 1, EndLine: l.Number, EndColumn: to + 1}
}

// EachLine gives every line of every text file of the tree, in order, to f. It
// reports progress and what was scanned. Files that are too large are noted;
// one that cannot be read makes the result partial.
func (t *Target) EachLine(ctx context.Context, opts LineOptions, f func(Line)) error {
	if opts.MaxFileSize <= 0 {
		opts.MaxFileSize = defaultMaxFile
	}
	if opts.MaxLine <= 0 {
		opts.MaxLine = defaultMaxLine
	}
	var done uint64
	buf := bufio.NewReaderSize(nil, 64<<10)
	for file, err := range t.Files(ctx) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			if opts.Match != nil && !opts.Match(file.Path) {
				continue
			}
			if Bytes(file.Size) > opts.MaxFileSize {
				t.tooLarge(file.Path, opts.MaxFileSize)
				continue
			}
			err = t.eachLine(ctx, file, opts, buf, f)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			t.unreadable(file.Path, err)
		}
		done++
		t.out.Progress(Progress{Phase: "matching", Done: done, Unit: "files"})
	}
	return nil
}

func (t *Target) eachLine(ctx context.Context, file File, opts LineOptions, r *bufio.Reader, f func(Line)) error {
	src, err := file.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	r.Reset(io.LimitReader(src, int64(opts.MaxFileSize))) // it may grow under us
	if !opts.Binary {
		// A short file gives fewer bytes and io.EOF; another error comes again below.
		if head, _ := r.Peek(binaryProbe); bytes.IndexByte(head, 0) >= 0 {
			return nil
		}
	}
	var read uint64
	for n := 1; ctx.Err() == nil; n++ {
		text, size, cut, err := readLine(r, int(opts.MaxLine))
		read += uint64(size)
		if size > 0 {
			f(Line{Path: file.Path, Number: n, Text: text, Cut: cut})
		}
		if errors.Is(err, io.EOF) {
			t.out.Scanned(1, read)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readLine reads to the next LF and keeps the first limit bytes. size is how
// many it read, with the line end.
func readLine(r *bufio.Reader, limit int) (text string, size int, cut bool, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		size += len(part)
		end := err == nil
		if end {
			part = part[:len(part)-1]
		}
		// One byte more than the limit tells a cut line, and a CR at its end.
		if room := limit + 1 - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if end {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if len(line) > limit {
			line, cut = line[:limit], true
		}
		return string(line), size, cut, err
	}
}
