package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// place notes where in the file each setting of a plugin's config block is, and
// whether it is written out there. What comes from elsewhere is not noted.
func (l *Loaded) place() {
	for name, p := range l.Config.Plugins {
		prefix := "plugin." + name + ".config"
		if l.origins[prefix].file == nil { // there is none, or a variable overrides it
			continue
		}
		for path, at := range l.settings {
			if setting, ok := strings.CutPrefix(path, prefix+"."); ok {
				p.Places[setting] = fmt.Sprintf("%s:%d", at.Filename, at.Start.Line)
				if l.literals[path] {
					p.Literals[setting] = true
				}
			}
		}
		l.Config.Plugins[name] = p
	}
}

// Declared reports whether the file has a block for a plugin.
func (l *Loaded) Declared(plugin string) bool {
	_, ok := l.blocks["plugin."+plugin]
	return ok
}

// FileOf is the path of the file that has the block of a plugin, "" when none
// has.
func (l *Loaded) FileOf(plugin string) string { return l.blocks["plugin."+plugin].Filename }

// SettingMistake is one that somebody else found in the config block of a
// plugin.
type SettingMistake struct {
	Plugin  string
	Setting string // "" when it is about none, or about one that is missing
	Text    string // a sentence without its subject: "must be a whole number"
}

// Mistakes reports them as Load reports its own. Their values may be secret, so
// their lines are not shown beyond the name.
func (l *Loaded) Mistakes(found []SettingMistake) *Error {
	e := &Error{sources: l.sources}
	for _, m := range found {
		block := "plugin." + m.Plugin + ".config"
		path := block
		if m.Setting != "" {
			path += "." + m.Setting
		}
		d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Invalid setting of a plugin", Detail: path + " " + strings.TrimSuffix(m.Text, ".") + ".", Extra: hiddenRest{}}
		at, ok := l.settings[path]
		switch from := l.origins[block]; {
		case from.env != "":
			d.Detail += " The value comes from the environment variable " + from.env + "."
		case ok:
			end := at
			end.End = hcl.Pos{Line: at.Start.Line, Column: at.Start.Column + len(m.Setting), Byte: at.Start.Byte + len(m.Setting)}
			d.Subject = &end
		case from.file != nil:
			d.Subject = from.file
		}
		e.Diagnostics = append(e.Diagnostics, d)
	}
	sortDiagnostics(e.Diagnostics)
	return e
}
