package executor

import (
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	maxNote     = 400 // bytes
	maxNotePath = 200
)

// remark keeps what the plugin says of the target for who asked for the scan, and
// logs it. Where the target lies on this machine is nobody's business but the
// operator's.
func (s *scan) remark(d *pluginv1.Diagnostic) {
	text := d.GetSummary()
	if detail := d.GetDetail(); detail != "" {
		text = strings.TrimRight(text, ".") + ". " + detail
	}
	level, logged := noteLevel(d.GetSeverity())
	s.note(logged, text, d.GetTargetPath())
	if text = clean.Line(s.withoutPlace(text), maxNote); text != "" {
		s.sink.Note(host.Note{Level: level, Text: text, Path: clean.Line(s.withoutPlace(d.GetTargetPath()), maxNotePath)})
	}
}

func (s *scan) withoutPlace(text string) string {
	for _, place := range []string{s.task.Root, s.task.WorkDir} {
		if place != "" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, place+"/", ""), place, ".")
		}
	}
	return text
}

func noteLevel(s pluginv1.Diagnostic_Severity) (host.NoteLevel, hclog.Level) {
	switch s {
	case pluginv1.Diagnostic_SEVERITY_ERROR:
		return host.NoteError, hclog.Error
	case pluginv1.Diagnostic_SEVERITY_WARNING:
		return host.NoteWarning, hclog.Warn
	default:
		return host.NoteNotice, hclog.Info
	}
}
