package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// maxFiles is how many files a directory may have; together they are no larger
// than one may be.
const maxFiles = 64

// source is one file.
type source struct {
	name string
	text []byte
}

// read finds and reads the file, or the files of a directory; an empty name when
// there is none.
func (l *loading) read() (name string, files []source) {
	places := []string{l.opts.Path}
	if l.opts.Path == "" {
		places = []string{FileName, SystemPath}
		if l.opts.SkipDir {
			places = places[1:]
		}
	}
	for _, name := range places {
		files, err := l.readAll(name)
		switch {
		case err == nil:
			return name, files
		case l.opts.Path == "" && errors.Is(err, fs.ErrNotExist):
		default:
			l.report(hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Configuration file not readable", Detail: err.Error() + "."}})
			return "", nil
		}
	}
	return "", nil
}

func (l *loading) readAll(name string) ([]source, error) {
	if info, err := os.Stat(l.opts.inDir(name)); err == nil && info.IsDir() {
		return l.readDir(name)
	}
	text, err := readFile(l.opts.inDir(name), maxFile)
	return []source{{name, text}}, err
}

// readDir reads every *.hcl of a directory, in the order of their names. What
// begins with a dot is left out: editors and Kubernetes keep such.
func (l *loading) readDir(dir string) ([]source, error) {
	entries, err := os.ReadDir(l.opts.inDir(dir))
	if err != nil {
		return nil, fmt.Errorf("read %.128q: %w", dir, err)
	}
	var files []source
	left := int64(maxFile)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".hcl" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(files) == maxFiles {
			return nil, fmt.Errorf("read %.128q: it has more than %d files *.hcl", dir, maxFiles)
		}
		name := filepath.Join(dir, e.Name())
		text, err := readFile(l.opts.inDir(name), maxFile)
		if err != nil {
			return nil, err
		}
		if left -= int64(len(text)); left < 0 {
			return nil, fmt.Errorf("read %.128q: its files together are over the limit of %s", dir, ByteSize(maxFile))
		}
		files = append(files, source{name, text})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read %.128q: there is no file *.hcl in this directory", dir)
	}
	return files, nil
}

// parse walks every file into one layer. It reports false when something of a
// file may be missing, so that nothing can be said of the whole.
func (l *loading) parse(files []source, w *walker) (layer map[string]any, whole bool) {
	layer, whole = map[string]any{}, true
	for _, f := range files {
		l.fail.sources[f.name] = f.text
		body, diags := parse(f.text, f.name)
		if body != nil {
			w.body(body, l.schema, "", layer)
		}
		l.report(diags)
		whole = whole && !unreadable(diags)
	}
	l.report(w.diags)
	return layer, whole
}
