package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

const window = 4 << 20 // bytes a reader must keep to unpack the archive

// Write streams the upload to w and says what went into it. It may be called
// again, for a retry: a file that changed meanwhile is packed as it is then.
func (p *Plan) Write(ctx context.Context, w io.Writer) (Stats, error) {
	out := &counter{w: w}
	run := &writer{plan: p, stats: p.stats, endedFunc: func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}}
	run.stats.Files, run.stats.Bytes = 0, 0
	run.stats.Left = slices.Clip(run.stats.Left) // the plan's own must not grow
	var err error
	if p.file {
		err = run.copyFile(out)
	} else {
		err = run.tree(out)
	}
	run.stats.Written = out.n
	if err != nil {
		return run.stats, fmt.Errorf("pack %q: %w", p.root, err)
	}
	return run.stats, nil
}

// writer is one run of Write.
type writer struct {
	plan      *Plan
	stats     Stats
	endedFunc func() error // the cause once the context has ended
	buf       []byte
	done      int64
}

func (w *writer) copyFile(out io.Writer) error {
	f, err := openRegular(os.OpenFile, w.plan.root)
	if err != nil {
		return reason(err)
	}
	defer f.Close()
	w.stats.Files = 1
	n, err := io.Copy(out, &reader{w, f})
	w.stats.Bytes = n
	return err
}

func (w *writer) tree(out io.Writer) error {
	root, err := os.OpenRoot(w.plan.root)
	if err != nil {
		return reason(err)
	}
	defer root.Close() //nolint:errcheck // only read from
	buffered := bufio.NewWriterSize(out, 64<<10)
	// Concurrency 1 encodes on this goroutine: nothing is left running after an
	// error, and an upload waits for the network sooner than for it.
	packed, err := zstd.NewWriter(buffered, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(packed)
	w.buf = make([]byte, 64<<10)
	for _, e := range w.plan.files {
		if err := w.add(archive, root, e.name); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// add packs one file with the size that it has now.
func (w *writer) add(archive *tar.Writer, root *os.Root, name string) error {
	f, info, err := openSame(root, name)
	if err != nil {
		if w.plan.cfg.SkipUnreadable {
			w.stats.leave(name, "cannot be read: "+reason(err).Error())
			return nil
		}
		return fmt.Errorf("read %q: %w; it could be read a moment ago", name, reason(err))
	}
	defer f.Close()
	size := info.Size()
	err = archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     name,
		Size:     size,
		Mode:     0o644,
		ModTime:  time.Unix(0, 0),
	})
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{archive}, &reader{w, io.LimitReader(f, size)}, w.buf)
	if err != nil {
		return fmt.Errorf("add %q: %w", name, err)
	}
	if n < size {
		return fmt.Errorf("read %q: it shrank from %d to %d bytes meanwhile; try again when nothing writes to it", name, size, n)
	}
	if more, _ := f.Read(w.buf[:1]); more > 0 && len(w.stats.Grown) < maxListed {
		w.stats.Grown = append(w.stats.Grown, name)
	}
	w.stats.Files++
	w.stats.Bytes += n
	return nil
}

// openSame opens what is at name, and not what a link there points to.
func openSame(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	link, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := openRegular(root.OpenFile, name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(link, info) {
		err = errors.New("replaced by a link or another file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// reader stops when the context ends and reports progress.
type reader struct {
	w *writer
	r io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.w.endedFunc(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.w.done += int64(n)
	if f := r.w.plan.cfg.ProgressFunc; f != nil && n > 0 {
		f(r.w.done, r.w.plan.stats.Bytes)
	}
	return n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
