package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// SettingPlaces says where in the file each setting of a plugin's config block
// is, as "securetag.hcl:12". What comes from elsewhere is not in it.
func (l *Loaded) SettingPlaces(plugin string) map[string]string {
	out := map[string]string{}
	prefix := "plugin." + plugin + ".config"
	if l.origins[prefix].file == nil { // overridden by a variable
		return out
	}
	for path, at := range l.settings {
		if len(path) > len(prefix) && path[:len(prefix)+1] == prefix+"." {
			out[path[len(prefix)+1:]] = fmt.Sprintf("%s:%d", at.Filename, at.Start.Line)
		}
	}
	return out
}

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
