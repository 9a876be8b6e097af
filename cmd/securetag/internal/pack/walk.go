package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/securetaghq/securetag/cmd/securetag/internal/pack/gitignore"
)

const (
	maxIgnoreFile = 4 << 20 // bytes of one .gitignore
	maxFaults     = 10      // unreadable files named in an error
)

// walker is one walk of a tree.
type walker struct {
	plan   *Plan
	root   *os.Root
	twins  *twins
	faults []error // what could not be read, the first maxFaults
	nfault int
}

func (p *Plan) walk(ctx context.Context) error {
	root, err := os.OpenRoot(p.root)
	if err != nil {
		return reason(err)
	}
	defer root.Close() //nolint:errcheck // only read from
	w := &walker{plan: p, root: root, twins: newTwins()}
	rules, err := w.outerRules()
	if err != nil {
		return err
	}
	if err := w.dir(ctx, ".", rules); err != nil {
		return err
	}
	if w.nfault > 0 {
		if more := w.nfault - len(w.faults); more > 0 {
			w.faults = append(w.faults, fmt.Errorf("and %d more", more))
		}
		return errors.Join(w.faults...)
	}
	if len(p.files) == 0 {
		return fmt.Errorf("%w: no regular files (%d ignored, %d links, %d others left out)",
			ErrEmpty, p.stats.Ignored, p.stats.Links, p.stats.Special+p.stats.LeftTotal)
	}
	return nil
}

// dir walks one directory. Depth is bounded by maxDepth.
func (w *walker) dir(ctx context.Context, dir string, rules *rules) error {
	entries, err := w.list(dir)
	if err != nil {
		return w.fault(dir, err)
	}
	rules, err = w.innerRules(dir, entries, rules)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if e.Name() == ".git" {
			continue
		}
		if err := w.entry(ctx, join(dir, e.Name()), e, rules); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, name string, e fs.DirEntry, rules *rules) error {
	stats := &w.plan.stats
	if rules.ignored(name, e.IsDir()) {
		stats.Ignored++
		return nil
	}
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		stats.Links++
		return nil
	case !e.IsDir() && !e.Type().IsRegular():
		stats.Special++
		return nil
	}
	if why := unfit(name, e.Name()); why != "" {
		stats.leave(name, why)
		return nil
	}
	if e.IsDir() {
		return w.dir(ctx, name, rules)
	}
	return w.file(name)
}

func (w *walker) file(name string) error {
	f, err := openRegular(w.root.OpenFile, name)
	if err != nil {
		return w.fault(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return w.fault(name, err)
	}
	if other := w.twins.claim(name); other != "" {
		w.plan.stats.leave(name, fmt.Sprintf("same name as %q where case and Unicode form do not count", other))
		return nil
	}
	w.plan.files = append(w.plan.files, entry{name, info.Size()})
	w.plan.stats.Files++
	w.plan.stats.Bytes += info.Size()
	return nil
}

// fault notes that name could not be read. The walk goes on, so that all such
// files are named at once.
func (w *walker) fault(name string, err error) error {
	if w.plan.cfg.SkipUnreadable && name != "." {
		w.plan.stats.leave(name, "cannot be read: "+reason(err).Error())
		return nil
	}
	if w.nfault++; len(w.faults) < maxFaults {
		w.faults = append(w.faults, fmt.Errorf("read %q: %w", name, reason(err)))
	}
	return nil
}

// list reads a directory, sorted by name.
func (w *walker) list(dir string) ([]fs.DirEntry, error) {
	f, err := w.root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

type openFunc func(name string, flag int, perm os.FileMode) (*os.File, error)

// openRegular opens a regular file without waiting for anybody: a pipe that
// took its place since it was listed must not hang us.
func openRegular(open openFunc, name string) (*os.File, error) {
	f, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("no longer a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// rules is the ignore files that count in a directory: a chain from the deepest
// up. nil ignores nothing.
type rules struct {
	list  gitignore.List
	at    string // where names start that the list sees: a prefix of the name, or
	above string // what to put before the name, for a list above the root
	up    *rules
}

// ignored asks the lists from the deepest up; the first that decides does.
func (r *rules) ignored(name string, dir bool) bool {
	for ; r != nil; r = r.up {
		rel := r.above + strings.TrimPrefix(name, r.at)
		switch r.list.Match(rel, dir) {
		case gitignore.Ignore:
			return true
		case gitignore.Keep:
			return false
		}
	}
	return false
}

// innerRules adds what the directory itself holds. A nested repository does
// not know of the one around it.
func (w *walker) innerRules(dir string, entries []fs.DirEntry, up *rules) (*rules, error) {
	if w.plan.cfg.NoIgnore {
		return nil, nil
	}
	prefix := ""
	if dir != "." {
		prefix = dir + "/"
	}
	for _, e := range entries {
		var file string
		switch {
		case e.Name() == ".git" && e.IsDir():
			up, file = nil, ".git/info/exclude" // sorts before .gitignore, which wins over it
		case e.Name() == ".git" && e.Type().IsRegular():
			up = nil
			continue
		case e.Name() == ".gitignore" && e.Type().IsRegular():
			file = ".gitignore"
		default:
			continue
		}
		list, err := readIgnore(w.root.OpenFile, prefix+file)
		if err != nil {
			return nil, err
		}
		up = &rules{list: list, at: prefix, up: up}
	}
	return up, nil
}

// outerRules reads the ignore files of the repository that the root is in,
// when its top is above the root.
func (w *walker) outerRules() (*rules, error) {
	if w.plan.cfg.NoIgnore {
		return nil, nil
	}
	abs, err := filepath.Abs(w.plan.root)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, reason(err)
	}
	top := repositoryTop(abs)
	if top == "" || top == abs {
		return nil, nil
	}
	var r *rules
	add := func(dir, file string) error {
		list, err := readIgnore(os.OpenFile, filepath.Join(dir, file))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, abs)
		if err != nil {
			return err
		}
		r = &rules{list: list, above: filepath.ToSlash(rel) + "/", up: r}
		return nil
	}
	if err := add(top, ".git/info/exclude"); err != nil {
		return nil, err
	}
	dirs := []string{}
	for d := filepath.Dir(abs); len(d) >= len(top); d = filepath.Dir(d) {
		dirs = append(dirs, d)
		if d == top {
			break
		}
	}
	for _, d := range slices.Backward(dirs) {
		if err := add(d, ".gitignore"); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// repositoryTop finds the directory at or above dir that holds ".git", or "".
func repositoryTop(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// readIgnore reads a file of patterns; one that is not there has none. Like
// git, it follows no link to one.
func readIgnore(open openFunc, name string) (gitignore.List, error) {
	f, err := openRegular(open, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return gitignore.List{}, nil
	}
	if err != nil {
		return gitignore.List{}, fmt.Errorf("read %q: %w", name, reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIgnoreFile+1))
	if err != nil {
		return gitignore.List{}, fmt.Errorf("read %q: %w", name, reason(err))
	}
	if len(data) > maxIgnoreFile {
		return gitignore.List{}, fmt.Errorf("read %q: larger than %d bytes", name, maxIgnoreFile)
	}
	return gitignore.Parse(data), nil
}
