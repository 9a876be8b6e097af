package executor

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openArtifact opens a regular file below the work directory, through no link
// of any kind and without waiting for a pipe, and gives its size. A file with
// another name elsewhere is refused: it may be one that only this host can read.
func openArtifact(workDir, path string) (*os.File, int64, error) {
	dir, err := unix.Open(workDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: "the work directory", Err: err}
	}
	defer func() { _ = unix.Close(dir) }()
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := unix.Openat2(dir, path, &how)
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		fd, err = unix.Openat2(dir, path, &how)
	}
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, errors.Join(&os.PathError{Op: "stat", Path: path, Err: err}, f.Close())
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("it is not a regular file")
	case st.Nlink != 1:
		err = errors.New("it has a second name (a hard link)")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size, nil
}
