package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
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

func planNames(l *config.Loaded) []string { return slices.Sorted(maps.Keys(l.Config.Plans)) }

// severities are what --fail-on takes.
func severities() completion { return words(append(names(host.Severities()), "none")...) }

// deliveryStates are those of a webhook's deliveries.
func deliveryStates() []string {
	return names([]host.DeliveryState{host.DeliveryPending, host.DeliveryDelivered, host.DeliveryFailed})
}

// complete gives the verbs their completions: one table, by the path of the verb.
func (p *program) complete(root *cobra.Command) {
	plugins, settings := p.configured(pluginNames), p.configured(settingPaths)
	for path, f := range map[string]completion{
		"plugin info": plugins, "plugin schema": plugins, "plugin verify": plugins, "plugin pin": plugins, "plugin reload": plugins,
		"config show": settings, "config explain": settings, "findings triage": triageArgs,
	} {
		find(root, path).ValidArgsFunction = f
	}
	for verb, flags := range p.flagCompletions() {
		for flag, f := range flags {
			if err := find(root, verb).RegisterFlagCompletionFunc(flag, f); err != nil {
				panic(err) // the verb has no such flag
			}
		}
	}
	noFiles(root)
}

// flagCompletions are those of the flags of each verb.
func (p *program) flagCompletions() map[string]map[string]completion {
	plugins, types, plans := p.configured(pluginNames), p.configured(typeNames), p.configured(planNames)
	events, part := words(names(host.WebhookEvents())...), map[string]completion{"plugin": plugins, "scan-type": types}
	return map[string]map[string]completion{
		"scan": {
			"format": words(names(scanFormats())...), "type": types, "fail-on": severities(),
			"priority": words(names(host.Priorities())...),
		},
		"scans list": {"state": words(names(host.States())...), "type": types},
		"findings list": {
			"state":    words(names(host.Baselines())...),
			"severity": words(names(host.Severities())...),
			"triage":   words(names(host.Triages())...),
			"plugin":   plugins,
		},
		"projects set":        {"fail-on": severities()},
		"report":              {"format": words(names(reportFormats())...)},
		"webhooks create":     {"event": events},
		"webhooks update":     {"event": events},
		"webhooks deliveries": {"state": words(deliveryStates()...)},
		"serve":               {"role": words(config.RoleAll, config.RoleAPI, config.RoleWorker)},
		"key create":          {"scopes": words(names(host.AllScopes())...)},
		"tenant create":       {"plan": plans},
		"tenant update":       {"plan": plans},
		"audit":               {"actor": words(host.ActorOperator, host.ActorKey, host.ActorCommand, host.ActorAddress)},
		"queue pause":         part, "queue resume": part, "queue dead": part, "queue requeue": part, "queue drop": part,
		"plugin new": {"lang": words("go", "python", "node")},
		"plugin run": {"fail-on": severities()},
	}
}

// triageArgs completes the second argument of findings triage.
func triageArgs(_ *cobra.Command, before []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(before) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(host.Triages()), cobra.ShellCompDirectiveNoFileComp
}

// find gives the verb of a path that there is.
func find(root *cobra.Command, path string) *cobra.Command {
	cmd, rest, err := root.Find(strings.Fields(path))
	if err != nil || len(rest) > 0 {
		panic("there is no verb " + path)
	}
	return cmd
}

// takesFiles looks for a word by which a verb's use says that it takes them. It
// is asked for every verb whenever the program starts, so it is no regular
// expression.
func takesFiles(use string) bool {
	words := strings.FieldsFunc(use, func(r rune) bool { return r < 'A' || r > 'Z' && r < 'a' || r > 'z' })
	return slices.ContainsFunc(words, func(w string) bool {
		switch w {
		case "PATH", "ARCHIVE", "FILE", "DIR", "DIRECTORY", "COMMAND", "OLD":
			return true
		default:
			return false
		}
	})
}

// noFiles keeps what lies in the directory out of the completions of the verbs
// that take no files.
func noFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil && !takesFiles(cmd.Use) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		noFiles(c)
	}
}
