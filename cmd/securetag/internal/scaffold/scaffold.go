// Package scaffold writes the project of a new plugin: one that builds and
// passes its tests at once.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed all:templates
var templates embed.FS

// Languages are what a project can be written in.
func Languages() []string { return []string{"go", "python", "node"} }

// kits are where each kit is in a checkout of SecureTag.
var kits = map[string]string{"go": ".", "python": "sdk/python", "node": "sdk/node"} //nolint:gochecknoglobals // a table, never written

// Project is what is to be written.
type Project struct {
	Name     string // of the plugin
	Language string // one of Languages
	Dir      string // made; must be empty when it is there
	SDK      string // a checkout of SecureTag, for its kits; "": the published kit
}

var name = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Write writes the project and gives the paths in it. It overwrites nothing.
func (p Project) Write() ([]string, error) {
	data, err := p.data()
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(p.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: name another directory with --dir", p.Dir)
	}
	var written []string
	for _, part := range []string{"common", p.Language} {
		root := "templates/" + part
		err := fs.WalkDir(templates, root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel := strings.TrimSuffix(strings.TrimPrefix(path, root+"/"), ".tmpl")
			written = append(written, rel)
			return render(path, filepath.Join(p.Dir, filepath.FromSlash(rel)), data)
		})
		if err != nil {
			return nil, err
		}
	}
	return written, nil
}

// data is what the templates are filled with.
func (p Project) data() (map[string]string, error) {
	if !name.MatchString(p.Name) {
		return nil, fmt.Errorf("the name %q must be lower-case letters, digits and dashes, start with a letter and have at most 63", p.Name)
	}
	kit, ok := kits[p.Language]
	if !ok {
		return nil, fmt.Errorf("there is no kit for %q: --lang takes %s", p.Language, strings.Join(Languages(), ", "))
	}
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return nil, err
	}
	data := map[string]string{"Name": p.Name, "Language": p.Language, "Dir": dir, "SDK": "", "Node": "/usr/bin/node"}
	if p.SDK != "" {
		if data["SDK"], err = filepath.Abs(filepath.Join(p.SDK, kit)); err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(p.SDK, "sdk")); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is no checkout of SecureTag: there is no folder sdk in it", p.SDK)
		}
	}
	if node, err := exec.LookPath("node"); err == nil {
		data["Node"] = node // processes of a host have no PATH
	}
	return data, nil
}

func render(from, to string, data map[string]string) error {
	text, err := templates.ReadFile(from)
	if err != nil {
		return err
	}
	t, err := template.New(from).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(f, data), f.Close())
}
