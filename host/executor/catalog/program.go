package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblock keeps an open from waiting for the other end of a pipe.
const nonblock = syscall.O_NONBLOCK

// Program is what the processes of a plugin execute. Safe for concurrent use.
type Program struct {
	source Source
	sum    string   // "" with Dev
	exe    *os.File // sealed memory that is executed; nil: path is
	path   string
	copied bool // path is a private copy, which Close removes

	mu     sync.Mutex
	closed bool
}

// Open reads a program and checks its pin; the error is a [*PinError] when it
// does not fit. scratch is a directory of the host's own, made when missing,
// for a private copy where the machine has no sealed memory; the copy's name
// begins with prefix.
func Open(s Source, scratch, prefix string) (*Program, error) {
	p := &Program{source: s, path: s.Command}
	if s.Dev {
		return p, nil
	}
	if len(s.Files) > 0 {
		sum, err := s.each(nil)
		if err == nil {
			err = s.check(sum)
		}
		if err != nil {
			return nil, err
		}
		p.sum = sum
		return p, nil
	}
	f, err := openRegular(s.Command)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("%s may not be executed by anybody: chmod 755 it", s.Command)
	}
	if p.sum, err = p.keep(f, scratch, prefix); err != nil {
		return nil, fmt.Errorf("keep %s from changing: %w", s.Command, err)
	}
	if err := s.check(p.sum); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// keep copies an executable to where nobody changes it.
func (p *Program) keep(f *os.File, scratch, prefix string) (string, error) {
	exe, sum, err := sealed(f)
	if err == nil {
		p.exe = exe
		return sum, nil
	}
	if !errors.Is(err, errNoSealed) {
		return "", err
	}
	p.path, sum, err = privateCopy(f, scratch, prefix)
	p.copied = err == nil
	return sum, err
}

// privateCopy is for machines without sealed memory. It is as private as
// scratch is; everybody may execute it, because a confined process is another
// user, to whom only the copy is shown.
func privateCopy(f *os.File, scratch, prefix string) (path, sum string, err error) {
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return "", "", err
	}
	// A child that is forked meanwhile would hold the copy open for writing, and
	// executing it would fail for as long.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.CreateTemp(scratch, prefix)
	if err != nil {
		return "", "", err
	}
	sum, err = copyHashed(out, f, maxExecutable)
	if err = errors.Join(err, out.Chmod(0o555), out.Close()); err != nil {
		return "", "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), sum, nil
}

// SHA256 is what the program hashes to, "" when nothing is pinned.
func (p *Program) SHA256() string { return p.sum }

// Executable is what to execute: the file when it is not nil, else the path.
// The file is the caller's to close, and good also when the Program is closed.
func (p *Program) Executable() (*os.File, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, "", os.ErrClosed
	}
	if p.exe == nil {
		return nil, p.path, nil
	}
	fd, err := unix.FcntlInt(p.exe.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("duplicate the executable: %w", err)
	}
	return os.NewFile(uintptr(fd), p.path), p.path, nil
}

// Place gives the directory in which a process finds the files: a copy that it
// makes below dir, having checked that they are still those that are pinned;
// with Dev where they are. "" when the plugin has no files.
func (p *Program) Place(dir string) (string, error) {
	if len(p.source.Files) == 0 {
		return "", nil
	}
	if p.source.Dev {
		return p.source.Dir, nil
	}
	dir = filepath.Join(dir, "files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	into, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = into.Close() }()
	sum, err := p.source.each(into)
	if err == nil {
		err = p.source.check(sum)
	}
	return dir, err
}

// Close gives up what is kept. Processes that run already are not disturbed.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if p.exe != nil {
		return p.exe.Close()
	}
	if p.copied {
		return os.Remove(p.path)
	}
	return nil
}

// Stamp is a text that changes when the program of s does, as far as the names,
// sizes and times of its files tell: a hint to read them again. What is not
// there has one too.
func Stamp(s Source) string {
	var b strings.Builder
	add := func(name string, info os.FileInfo) {
		var inode uint64
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = st.Ino
		}
		fmt.Fprintln(&b, name, info.Mode(), info.Size(), info.ModTime().UnixNano(), inode)
	}
	if err := s.stat(add); err != nil {
		return b.String() + err.Error()
	}
	return b.String()
}

// stat calls f for every file of the program.
func (s Source) stat(f func(name string, info os.FileInfo)) error {
	info, err := os.Stat(s.Command)
	if err != nil {
		return err
	}
	f(s.Command, info)
	if len(s.Files) == 0 {
		return nil
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	names, err := s.names(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		f(name, info)
	}
	return nil
}
