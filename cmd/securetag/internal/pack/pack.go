package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrEmpty: there is not one file to scan.
var ErrEmpty = errors.New("nothing to scan")

// Config says how to pack. The zero value is the default.
type Config struct {
	// SkipUnreadable lists unreadable and vanished files in Stats.Left instead
	// of failing.
	SkipUnreadable bool
	// NoIgnore packs what .gitignore and .git/info/exclude would leave out.
	NoIgnore bool
	// ProgressFunc is called by Write, from its goroutine, with the bytes read
	// so far and the bytes planned. done may pass total when files grow.
	ProgressFunc func(done, total int64)
}

// Stats says what was packed and what was not.
type Stats struct {
	Files   int   // packed
	Bytes   int64 // in them
	Written int64 // bytes of the archive; 0 until it is written

	Ignored int // entries ignored; a directory counts once
	Links   int // symbolic links
	Special int // devices, sockets, pipes

	// Left lists the files left out that somebody may miss: unfit names, twins,
	// and with SkipUnreadable what could not be read. The first 1000.
	Left []Left
	// LeftTotal is how many there are.
	LeftTotal int
	// Grown lists files that grew while they were read and were packed with the
	// size they had at first. The first 1000.
	Grown []string
}

// Left is a file or directory left out. Name is hostile text: quote it.
type Left struct {
	Name   string // slash-separated, relative to the root
	Reason string
}

const maxListed = 1000

func (s *Stats) leave(name, reason string) {
	s.LeftTotal++
	if len(s.Left) < maxListed {
		s.Left = append(s.Left, Left{name, reason})
	}
}

// Plan is what is going to be uploaded: a directory to pack, or one file that
// is an archive already. Not for concurrent use.
type Plan struct {
	root  string
	cfg   Config
	file  bool
	files []entry
	stats Stats
}

type entry struct {
	name string // slash-separated, relative to the root
	size int64  // when planned
}

// Prepare decides what to upload of path. A directory is walked; it is
// ErrEmpty when no file remains. A file is taken as it is.
func Prepare(ctx context.Context, path string, cfg Config) (*Plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at %q: %w", path, reason(err))
	}
	p := &Plan{root: path, cfg: cfg}
	switch {
	case info.Mode().IsRegular():
		f, err := openRegular(os.OpenFile, path)
		if err != nil {
			return nil, fmt.Errorf("open %q: %w", path, reason(err))
		}
		f.Close()
		p.file = true
		p.stats.Files, p.stats.Bytes = 1, info.Size()
		return p, nil
	case info.IsDir():
		if err := p.walk(ctx); err != nil {
			return nil, fmt.Errorf("pack %q: %w", path, err)
		}
		return p, nil
	default:
		return nil, fmt.Errorf("pack %q: neither a directory nor a regular file", path)
	}
}

// Dir plans and packs a directory, or copies an archive, in one go.
func Dir(ctx context.Context, root string, w io.Writer, cfg Config) (Stats, error) {
	p, err := Prepare(ctx, root, cfg)
	if err != nil {
		return Stats{}, err
	}
	return p.Write(ctx, w)
}

// Stats says what is planned; Written is 0 and Grown empty.
func (p *Plan) Stats() Stats { return p.stats }

// IsFile reports that the upload is a file as it is, not a packed directory.
func (p *Plan) IsFile() bool { return p.file }

// Filename is what to call the upload: the base name of the path, with
// ".tar.zst" when it is packed here.
func (p *Plan) Filename() string {
	name := filepath.Base(p.root)
	if abs, err := filepath.Abs(p.root); err == nil {
		name = filepath.Base(abs)
	}
	if p.file {
		return name
	}
	if strings.Trim(name, `./\`) == "" {
		name = "root"
	}
	return name + ".tar.zst"
}

// reason drops the operation and the path that os puts into its errors: the
// caller names the file in its own words.
func reason(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}
