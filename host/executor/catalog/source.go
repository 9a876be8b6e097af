package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	maxExecutable = 2 << 30 // bytes of one file
	maxFiles      = 20_000
	maxFilesBytes = 2 << 30
)

// Source says where the program of a plugin is, and what it must be.
type Source struct {
	Command string   // absolute path of the executable, or of the interpreter of Files
	Dir     string   // absolute; Files are below it
	Files   []string // patterns such as "lib/**"; none: Command itself is the program
	SHA256  string   // what it must hash to, 64 lower-case hex digits; "" takes anything
	// Dev takes the program as it is at each start. Nothing is hashed.
	Dev bool
}

// A PinError says that a program is not the one that was pinned.
type PinError struct{ Path, Want, Got string }

func (e *PinError) Error() string {
	return fmt.Sprintf("%s has the SHA-256 %s, and %s is pinned: if it was replaced on purpose, pin it anew with \"securetag plugin pin\"", e.Path, e.Got, e.Want)
}

// Sum hashes the program of s as it is now.
func Sum(s Source) (string, error) {
	if len(s.Files) > 0 {
		return s.each(nil)
	}
	f, err := openRegular(s.Command)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return copyHashed(io.Discard, f, maxExecutable)
}

// check compares a hash with the pin.
func (s Source) check(got string) error {
	if s.SHA256 == "" || s.SHA256 == got {
		return nil
	}
	what := s.Command
	if len(s.Files) > 0 {
		what = "files of " + s.Dir
	}
	return &PinError{Path: what, Want: s.SHA256, Got: got}
}

// openRegular opens a file that can be read to an end.
func openRegular(path string) (*os.File, error) {
	// A pipe in its place must not hold the host up.
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// copyHashed copies r to w, at most limit bytes, and gives their hash.
func copyHashed(w io.Writer, r io.Reader, limit int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, limit+1))
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", fmt.Errorf("over the limit of %d bytes", limit)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// names lists the files that the patterns name, sorted.
func (s Source) names(root *os.Root) ([]string, error) {
	seen := map[string]bool{}
	for _, pattern := range s.Files {
		found := 0
		err := doublestar.GlobWalk(root.FS(), pattern, func(name string, d fs.DirEntry) error {
			if !d.Type().IsRegular() {
				return nil
			}
			if found++; seen[name] {
				return nil
			}
			if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
				return fmt.Errorf("the name %q cannot stand in a list of hashes", name)
			}
			if seen[name] = true; len(seen) > maxFiles {
				return fmt.Errorf("more than %d files", maxFiles)
			}
			return nil
		}, doublestar.WithFilesOnly(), doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
		if err != nil {
			return nil, fmt.Errorf("look for %q in %s: %w", pattern, s.Dir, err)
		}
		if found == 0 {
			return nil, fmt.Errorf("no file in %s is named by %q", s.Dir, pattern)
		}
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// each hashes the files, copying them into the root into unless that is nil,
// and gives the hash of their list.
func (s Source) each(into *os.Root) (string, error) {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	names, err := s.names(root)
	if err != nil {
		return "", err
	}
	list, left := sha256.New(), int64(maxFilesBytes)
	for _, name := range names {
		sum, n, err := copyFile(into, root, name, left)
		if err != nil {
			return "", fmt.Errorf("read %s in %s: %w", name, s.Dir, err)
		}
		left -= n
		fmt.Fprintf(list, "%s  %s\n", sum, name)
	}
	return hex.EncodeToString(list.Sum(nil)), nil
}

// copyFile hashes a file and, unless into is nil, copies it there.
func copyFile(into, from *os.Root, name string, limit int64) (sum string, n int64, err error) {
	f, err := from.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, errors.New("not a regular file any more")
	}
	w := io.Discard
	if into != nil {
		out, err := create(into, name)
		if err != nil {
			return "", 0, err
		}
		mode := os.FileMode(0o444)
		if info.Mode().Perm()&0o100 != 0 {
			mode = 0o555
		}
		defer func() { err = errors.Join(err, out.Chmod(mode), out.Close()) }()
		w = out
	}
	counted := &counter{w: w}
	sum, err = copyHashed(counted, f, limit)
	return sum, counted.n, err
}

// create makes a file and the directories above it, which also another user may
// read, as whom a confined process runs, whatever the umask says: what keeps
// everybody else out is the directory that holds the copy.
func create(into *os.Root, name string) (*os.File, error) {
	if err := into.MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, err
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if err := into.Chmod(dir, 0o755); err != nil {
			return nil, err
		}
		if dir == "." {
			return into.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
}

// counter counts what passes through.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
