package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/internal/safetext"
)

// showPlugin prints all there is to know of one plugin.
func (p *program) showPlugin(block config.Plugin, s executor.PluginStatus, asJSON bool) error {
	failing := errFailing(s.State == executor.StateFailing)
	v := viewPlugin(s)
	if asJSON {
		if s.Info != nil {
			for _, r := range s.Info.Rules {
				v.Rules = append(v.Rules, ruleView{r.ID, r.Title, string(r.Severity)})
			}
		}
		return errors.Join(report.Document(p.stdout, v), failing)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, safetext.Plain(value))
		}
	}
	line("Name", v.Name)
	line("State", v.State)
	line("Reason", v.Reason)
	line("Version", v.Version)
	line("What it is", v.Description)
	line("Vendor", v.Vendor)
	line("License", v.License)
	line("SDK", v.SDK)
	line("Takes", strings.Join(v.Inputs, ", "))
	if s.Info != nil {
		line("Rules", strconv.Itoa(v.RuleCount))
		line("Settings", strconv.Itoa(len(s.Info.Settings)))
	}
	line("Command", strings.Join(append([]string{block.Command}, block.Args...), " "))
	if len(block.Files) > 0 {
		line("Files", strings.Join(block.Files, ", ")+" in "+block.Dir)
	}
	line("SHA-256", cmp.Or(v.SHA256, "not pinned, in development"))
	line("Isolation", v.Isolation)
	line("Containment", v.Containment)
	for i, m := range v.Missing {
		line([]string{"Missing", ""}[min(i, 1)], m)
	}
	return errors.Join(w.Flush(), failing)
}

// showSchema prints the settings that a plugin takes.
func (p *program) showSchema(ctx context.Context, e *executor.Executor, name string, asJSON bool) error {
	info, err := e.Known(ctx, name)
	if fault := (*host.Fault)(nil); errors.As(err, &fault) {
		return usageError{errors.New(fault.Message)}
	}
	if err != nil {
		return err
	}
	if asJSON {
		settings := info.Settings
		if settings == nil {
			settings = catalog.Settings{}
		}
		return report.Document(p.stdout, map[string]any{"name": info.Name, "version": info.Version, "settings": settings})
	}
	if len(info.Settings) == 0 {
		fmt.Fprintf(p.stdout, "%s takes no settings.\n", info.Name)
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tTYPE\tDEFAULT\tWHAT IT IS")
	for _, s := range info.Settings {
		def := cmp.Or(s.Default, "-")
		switch {
		case s.Required:
			def = "(required)"
		case s.Sensitive:
			def = "(sensitive)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, cmp.Or(strings.ReplaceAll(s.Type, "_", " "), "?"), safetext.Plain(def), safetext.Plain(describeSetting(s)))
	}
	return w.Flush()
}

// describeSetting says in a line what a setting is, and what it may be.
func describeSetting(s catalog.Setting) string {
	show := func(f *float64) string {
		if s.Type == "duration" {
			return time.Duration(*f * float64(time.Second)).String()
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	var may []string
	if len(s.OneOf) > 0 {
		may = append(may, "one of "+strings.Join(s.OneOf, ", "))
	}
	if s.Min != nil {
		may = append(may, "at least "+show(s.Min))
	}
	if s.Max != nil {
		may = append(may, "at most "+show(s.Max))
	}
	if s.Pattern != "" {
		may = append(may, "matches "+s.Pattern)
	}
	text := s.Description
	if len(may) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Join(may, "; ") + ")")
	}
	if s.Deprecated != "" {
		text = "Deprecated: " + s.Deprecated + " " + text
	}
	return text
}
