package sdk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"syscall"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Target is what one scan looks at. Its files are hostile: whoever uploaded
// them may have made them for this scanner.
type Target struct {
	root      *os.Root // nil for a URL
	url       string
	permitted []string
	name      string
	workDir   string
	attempt   int
	key       []byte // for identities; nil: none
	options   any
	remarks   []*pluginv1.Diagnostic // about the options
	out       *Out
}

// Root is the absolute path of the tree, "" for a URL. It is read-only. Prefer
// Files and Open, which never leave it.
func (t *Target) Root() string {
	if t.root == nil {
		return ""
	}
	return t.root.Name()
}

// URL is the web target, "" for a tree.
func (t *Target) URL() string { return t.url }

// PermittedHosts are the hosts that the scan may call, as
// [egress.Config.Permitted] takes them; none: the host does not say.
//
// [egress.Config.Permitted]: https://pkg.go.dev/github.com/securetaghq/securetag/sdk/egress#Config
func (t *Target) PermittedHosts() []string { return slices.Clone(t.permitted) }

// Name is what people call the target; never a path to open.
func (t *Target) Name() string { return t.name }

// WorkDir is a private, writable, empty directory, removed after the scan.
func (t *Target) WorkDir() string { return t.workDir }

// Attempt is 1 for the first try.
func (t *Target) Attempt() int { return t.attempt }

// Keyed is what stands for a secret in [Finding.Identity], so that another secret
// is another finding: a hash with a key that the host keeps, by which nobody can
// find out the secret. "" when the host compares no scans; the redacted text is
// then all there is.
func (t *Target) Keyed(secret string) string {
	if len(t.key) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, t.key)
	_, _ = mac.Write([]byte(secret)) // never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// Options is a pointer to a struct of the type of Scanner.Options, filled and
// checked; nil when the scanner declares none.
func (t *Target) Options() any { return t.options }

// File is a regular file of the tree.
type File struct {
	Path string // relative to the root, slash-separated
	Size int64
	root *os.Root
}

// Open opens the file for reading. It fails when there is no regular file at
// its path any more.
func (f File) Open() (*os.File, error) { return openRegular(f.root, f.Path) }

// openRegular never waits for a fifo and never leaves the root.
func openRegular(root *os.Root, path string) (*os.File, error) {
	if root == nil {
		return nil, errors.New("the target is not a tree")
	}
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openIn is openRegular below a directory.
func openIn(dir, path string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read
	return openRegular(root, path)
}

// Open opens one regular file of the tree by its relative path.
func (t *Target) Open(path string) (*os.File, error) { return openRegular(t.root, path) }

// Files walks the regular files of the tree in the order of their paths,
// directory by directory. It follows no links and leaves out devices and pipes.
// An error that concerns one path is given with that path and the walk goes
// on; when ctx ends, its error is the last.
func (t *Target) Files(ctx context.Context) iter.Seq2[File, error] {
	return t.walk(ctx, nil)
}

// FilesExcept is Files without the directories, and all in them, for which
// skip is true.
func (t *Target) FilesExcept(ctx context.Context, skip func(dir string) bool) iter.Seq2[File, error] {
	return t.walk(ctx, skip)
}

func (t *Target) walk(ctx context.Context, skip func(string) bool) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		if t.root == nil {
			yield(File{}, errors.New("the target is not a tree"))
			return
		}
		give := func(f File, err error) error {
			if !yield(f, err) {
				return fs.SkipAll
			}
			return nil
		}
		// The callback handles every error itself, so the walk has none.
		_ = fs.WalkDir(t.root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			f := File{Path: path, root: t.root}
			switch {
			case ctx.Err() != nil:
				yield(File{}, context.Cause(ctx))
				return fs.SkipAll
			case err != nil:
				return give(f, fmt.Errorf("walk %q: %w", path, err))
			case d.IsDir():
				if skip != nil && path != "." && skip(path) {
					return fs.SkipDir
				}
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return give(f, fmt.Errorf("walk %q: %w", path, err))
			}
			f.Size = info.Size()
			return give(f, nil)
		})
	}
}
