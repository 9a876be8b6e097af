package conformance

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/securetaghq/securetag/host/internal/rmtree"
)

// tree is a target, as it was before anybody scanned it.
type tree struct {
	name    string
	root    string
	before  map[string]string // by path: everything that a write would change
	regular map[string]bool   // its regular files, not through links
	lossy   []*regexp.Regexp  // what a path that is not UTF-8 may be reported as
	lines   map[string][]int  // cache: bytes of each line, without its end
	secrets []string          // planted, and not to be shown in clear
	canary  string            // what is only outside; "": nothing
}

func newTree(name, root string) (*tree, error) {
	t := &tree{name: name, root: root, regular: map[string]bool{}, lines: map[string][]int{}}
	var err error
	if t.before, err = snapshot(root); err != nil {
		return nil, fmt.Errorf("look at the %s tree: %w", name, err)
	}
	for path, state := range t.before {
		if !strings.HasPrefix(state, "-") {
			continue
		}
		if t.regular[path] = true; !utf8.ValidString(path) {
			t.lossy = append(t.lossy, lossy(path))
		}
	}
	return t, nil
}

// lossy matches what is left of a path when each bad byte has become something
// else: the contract has only UTF-8.
func lossy(path string) *regexp.Regexp {
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`[^/]{0,6}`)
		} else {
			b.WriteString(regexp.QuoteMeta(path[:n]))
		}
		path = path[n:]
	}
	return regexp.MustCompile(`^(?s:` + b.String() + `)$`)
}

// has reports whether a path is one of the tree's regular files.
func (t *tree) has(path string) bool {
	return t.regular[path] || slices.ContainsFunc(t.lossy, func(re *regexp.Regexp) bool { return re.MatchString(path) })
}

// hashUpTo is the size of the largest file whose content is compared: the time
// of the last change tells of larger ones.
const hashUpTo = 256 << 10

// snapshot says for every path what it is. It follows no links.
func snapshot(root string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		if relErr != nil {
			return relErr
		}
		info, statErr := os.Lstat(path)
		switch {
		case errors.Is(statErr, fs.ErrNotExist):
			return nil
		case statErr != nil:
			return statErr
		case err != nil && !errors.Is(err, fs.ErrPermission):
			return err
		}
		state := fmt.Sprintf("%s %d %d", info.Mode(), info.Size(), info.ModTime().UnixNano())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			state += " " + to
		case info.Mode().IsRegular() && info.Size() <= hashUpTo:
			state += " " + digest(path)
		}
		all[filepath.ToSlash(rel)] = state
		return nil
	})
	return all, err
}

// digest is the hash of a file, "" when it cannot be read.
func digest(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// changed names the first path that is not what it was, "" when all are.
func changed(before, after map[string]string) string {
	for _, path := range slices.Sorted(maps.Keys(before)) {
		switch now, there := after[path]; {
		case !there:
			return fmt.Sprintf("%q is gone", path)
		case now != before[path]:
			return fmt.Sprintf("%q was changed", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[path]; !known {
			return fmt.Sprintf("%q is new", path)
		}
	}
	return ""
}

// lengths gives the bytes of each line of a file of the tree.
func (t *tree) lengths(path string) ([]int, error) {
	if l, ok := t.lines[path]; ok {
		return l, nil
	}
	f, err := os.OpenFile(filepath.Join(t.root, filepath.FromSlash(path)), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lengths := []int{}
	n := 0
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		part, err := r.ReadSlice('\n')
		n += len(part)
		switch {
		case err == nil:
			lengths = append(lengths, n-1)
			n = 0
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if n > 0 {
				lengths = append(lengths, n)
			}
			t.lines[path] = lengths
			return lengths, nil
		default:
			return nil, err
		}
	}
}

// removeAll removes a directory that a plugin filled.
func removeAll(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrPermission) && os.Chmod(dir, 0o700) == nil {
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return rmtree.IgnoreMissing(err)
	}
	return errors.Join(rmtree.Empty(root), root.Close(), rmtree.IgnoreMissing(os.Remove(dir)))
}
