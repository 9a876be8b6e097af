package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/config"
)

// A completion gives the words that may stand where somebody pressed the tab key.
// It must be quick, and say nothing when it knows nothing.
type completion = cobra.CompletionFunc

// words are always the same.
func words(all ...string) completion {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}

// configured are words that the configuration knows, for the first argument or
// a flag. With a mistake in it there are none: the command itself says so.
func (p *program) configured(list func(*config.Loaded) []string) completion {
	return func(cmd *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
		loaded, err := p.load(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(list(loaded), func(w string) bool { return slices.Contains(before, w) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func pluginNames(l *config.Loaded) []string { return slices.Sorted(maps.Keys(l.Config.Plugins)) }

func typeNames(l *config.Loaded) []string { return slices.Sorted(maps.Keys(l.Config.Scans)) }

func settingPaths(l *config.Loaded) []string {
	var out []string
	for _, s := range l.Settings() {
		out = append(out, s.Path)
	}
	return out
}

func formatWords() []string {
	var out []string
	for _, f := range export.Formats() {
		out = append(out, string(f))
	}
	return out
}

// complete gives the verbs their completions: one table, by the path of the verb.
func (p *program) complete(root *cobra.Command) {
	plugins, settings := p.configured(pluginNames), p.configured(settingPaths)
	for path, f := range map[string]completion{
		"plugin info": plugins, "plugin schema": plugins, "plugin verify": plugins, "plugin pin": plugins, "plugin reload": plugins,
		"config show": settings, "config explain": settings,
	} {
		find(root, path).ValidArgsFunction = f
	}
	for verb, flags := range map[string]map[string]completion{
		"scan": {
			"format":   words(append([]string{"table", "json"}, formatWords()...)...),
			"type":     p.configured(typeNames),
			"priority": words("high", "normal", "low"),
			"fail-on":  words("critical", "high", "medium", "low", "info", "unknown", "none"),
		},
		"report":     {"format": words(formatWords()...)},
		"serve":      {"role": words(config.RoleAll, config.RoleAPI, config.RoleWorker)},
		"plugin new": {"lang": words("go", "python", "node")},
	} {
		for flag, f := range flags {
			if err := find(root, verb).RegisterFlagCompletionFunc(flag, f); err != nil {
				panic(err) // the verb has no such flag
			}
		}
	}
	noFiles(root)
}

// find gives the verb of a path that there is.
func find(root *cobra.Command, path string) *cobra.Command {
	cmd, rest, err := root.Find(strings.Fields(path))
	if err != nil || len(rest) > 0 {
		panic("there is no verb " + path)
	}
	return cmd
}

// files are the words by which a verb's use says that it takes them.
var files = regexp.MustCompile(`\b(PATH|ARCHIVE|FILE|DIR|DIRECTORY|COMMAND|OLD)\b`)

// noFiles keeps what lies in the directory out of the completions of the verbs
// that take no files.
func noFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && !files.MatchString(cmd.Use) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		noFiles(c)
	}
}
