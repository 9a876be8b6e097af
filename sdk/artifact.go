package sdk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	maxArtifactName = 128 // characters
	maxMediaType    = 127
)

// keep is what a scan knows of its artifacts.
type keep struct {
	dir   string // the work directory
	most  uint64 // artifacts; 0: not said
	bytes uint64 // of all; 0: not said

	mu    sync.Mutex
	names map[string]bool
	used  uint64
	files int // names files apart in the work directory
}

// Artifact keeps a file with the result of the scan, for people or other
// tools: an SBOM, a raw report. write fills it, and the file is sent when write
// has returned nil. name is a file name ("sbom.cdx.json"): at most 128
// characters, no separators or control characters, unique in the scan.
// mediaType has no parameters ("application/json"); "" is
// application/octet-stream.
//
// The error is write's, or says which rule or limit of the host is broken; then
// there is no artifact, and whether that makes the scan fail or partial is for
// the caller to say. Secrets are as visible here as in a finding.
func (o *Out) Artifact(name, mediaType string, write func(io.Writer) error) error {
	if err := o.keep.take(name, mediaType); err != nil {
		return err
	}
	path, sum, err := o.keep.write(write)
	if err != nil {
		o.keep.giveBack(name)
		return fmt.Errorf("artifact %q: %w", name, err)
	}
	o.sendArtifact(name, mediaType, path, sum)
	return nil
}

// ArtifactFile is Artifact for a file that is there already, complete and
// closed: in Target.WorkDir, by its path from there or absolute. It must not
// change any more. Links are not followed.
func (o *Out) ArtifactFile(name, mediaType, path string) error {
	if err := o.keep.take(name, mediaType); err != nil {
		return err
	}
	rel, sum, err := o.keep.read(path)
	if err != nil {
		o.keep.giveBack(name)
		return fmt.Errorf("artifact %q: %w", name, err)
	}
	o.sendArtifact(name, mediaType, rel, sum)
	return nil
}

func (o *Out) sendArtifact(name, mediaType, path, sum string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return
	}
	o.events = append(o.events, &pluginv1.ScanEvent{Event: &pluginv1.ScanEvent_Artifact{Artifact: &pluginv1.Artifact{
		Name: name, MediaType: mediaType, Path: path, Sha256: sum,
	}}})
}

// take reserves the name.
func (k *keep) take(name, mediaType string) error {
	if err := artifactName(name); err != nil {
		return err
	}
	if mediaType != "" {
		t, params, err := mime.ParseMediaType(mediaType)
		if err != nil || len(params) > 0 || !strings.Contains(t, "/") || len(mediaType) > maxMediaType {
			return fmt.Errorf("artifact %q: the media type %.80q is not one such as application/json, without parameters", name, mediaType)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.dir == "":
		return fmt.Errorf("artifact %q: the request names no work directory", name)
	case k.names[name]:
		return fmt.Errorf("artifact %q: there is one of that name already", name)
	case k.most > 0 && uint64(len(k.names)) >= k.most:
		return fmt.Errorf("artifact %q: the host keeps at most %d of a scan", name, k.most)
	}
	if k.names == nil {
		k.names = make(map[string]bool)
	}
	k.names[name] = true
	return nil
}

func (k *keep) giveBack(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.names, name)
}

func artifactName(name string) error {
	bad := name == "" || name == "." || name == ".." || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxArtifactName ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) })
	if bad {
		return fmt.Errorf("artifact %.80q: the name must be a file name of 1 to %d printable characters without separators", name, maxArtifactName)
	}
	return nil
}

// write makes a file of its own for the artifact, whatever its name.
func (k *keep) write(fill func(io.Writer) error) (rel, sum string, err error) {
	root, err := os.OpenRoot(k.dir)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = root.Close() }() // its file has a Close of its own
	f, rel, err := k.create(root)
	if err != nil {
		return "", "", err
	}
	w := &counted{k: k, hash: sha256.New(), w: f}
	err = fill(w)
	if w.err != nil {
		err = w.err // also when fill did not look at it
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = k.spend(-w.n) // giving back never fails
		return "", "", errors.Join(err, root.Remove(rel))
	}
	return rel, hex.EncodeToString(w.hash.Sum(nil)), nil
}

// create makes a file that was not there: the tool of a scanner may have
// written into the same directory.
func (k *keep) create(root *os.Root) (*os.File, string, error) {
	for {
		k.mu.Lock()
		k.files++
		rel := "artifact-" + strconv.Itoa(k.files)
		k.mu.Unlock()
		f, err := root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, os.ErrExist) {
			return f, rel, err
		}
	}
}

// read hashes and counts a file that is there.
func (k *keep) read(path string) (rel, sum string, err error) {
	rel = path
	if filepath.IsAbs(path) {
		if rel, err = filepath.Rel(k.dir, path); err != nil {
			return "", "", err
		}
	}
	if !filepath.IsLocal(rel) {
		return "", "", fmt.Errorf("%q is not in the work directory", path)
	}
	if err := noLinks(k.dir, rel); err != nil {
		return "", "", err
	}
	rel = filepath.ToSlash(filepath.Clean(rel))
	f, err := openIn(k.dir, rel)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	w := &counted{k: k, hash: sha256.New(), w: io.Discard}
	if _, err := io.Copy(w, f); err != nil {
		_ = k.spend(-w.n) // giving back never fails
		return "", "", err
	}
	return rel, hex.EncodeToString(w.hash.Sum(nil)), nil
}

// noLinks refuses a path on which there is a link: the host does.
func noLinks(dir, rel string) error {
	base, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(filepath.Join(base, rel))
	if err == nil && real != filepath.Join(base, rel) {
		err = errors.New("there is a link on its path")
	}
	return err
}

// spend counts n bytes and says when that is too many; nothing is counted then.
func (k *keep) spend(n int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > 0 && k.bytes > 0 && k.used+uint64(n) > k.bytes {
		return fmt.Errorf("the host keeps at most %s of artifacts of a scan", Bytes(k.bytes))
	}
	k.used += uint64(n)
	return nil
}

// counted hashes and counts what goes to w.
type counted struct {
	k    *keep
	hash hash.Hash
	w    io.Writer
	n    int64
	err  error
}

func (c *counted) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.err = c.k.spend(int64(len(p))); c.err != nil {
		return 0, c.err
	}
	c.n += int64(len(p))
	_, _ = c.hash.Write(p) // never fails
	var n int
	n, c.err = c.w.Write(p)
	return n, c.err
}
