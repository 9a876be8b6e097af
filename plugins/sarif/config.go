package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

// Config is the operator's settings: the tool, and what its report means.
type Config struct {
	Command          string            `json:"command" required:"true" doc:"The tool: an absolute path, or a name in PATH."`
	Args             []string          `json:"args" required:"true" doc:"Its arguments. {target} in them is the directory to scan, {work} the directory in which it runs, outside of that, and {output} a file for the report in there; without {output} it prints the report."`
	Report           string            `json:"report" pattern:"^([A-Za-z0-9_][A-Za-z0-9._-]{0,99})?$" doc:"Name of the report in {work}, for a tool that cannot be told it. Given, or with {output} in args, it is read; else what the tool prints is."`
	ExitCodes        []string          `json:"exit_codes" default:"0" pattern:"^(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$" doc:"With which the report counts. Many tools exit with 1 when they found something."`
	Timeout          time.Duration     `json:"timeout" default:"0s" min:"0s" max:"24h" doc:"After that it is killed, and the scan has failed. 0s: as long as the scan type allows."`
	MaxReport        sdk.Bytes         `json:"max_report" default:"32MiB" min:"1KiB" max:"256MiB" doc:"A larger report is a failure; nothing of it is taken."`
	Severity         map[string]string `json:"severity" doc:"Severity of the results of a rule, by its id, or of a level: error, warning, note or none. The values are critical, high, medium, low and info. A rule comes before its level."`
	Files            []string          `json:"files" doc:"Patterns of the files that it looks at, such as \"*.py\" or \"deploy/*.yaml\": one without a slash fits names anywhere. In a target with none of them it does not run. Empty: any file."`
	Hide             []string          `json:"hide" doc:"Patterns of files and directories, as in files, that it must not see: its own configuration, which a target may bring along, and what is not the target's own. Where there are any, it gets a copy of the target without them."`
	Env              map[string]string `json:"env" doc:"Its environment, beside PATH, HOME, TMPDIR and LANG. Nothing secret: give that to the plugin's block."`
	EnvPass          []string          `json:"env_pass" pattern:"^[A-Za-z_][A-Za-z0-9_]*$" doc:"Variables of the plugin's own environment, which its block gives, that it gets too."`
	PartialOnWarning bool              `json:"partial_on_warning" default:"false" doc:"A warning among the notifications of a report makes the scan partial, as an error does: for tools to which a file that took too long, or that they could not read whole, is one."`
	PartialIf        string            `json:"partial_if" doc:"A regular expression (RE2). A line that it fits, of what the tool says on standard error and, where its report is a file, on standard output, makes the scan partial: for tools that say only there what they could not read. The last 64 KiB are looked at."`
	HideSnippets     bool              `json:"hide_snippets" default:"false" doc:"Leaves out the text at a finding: for tools that find secrets and show them."`
	KeepReport       bool              `json:"keep_report" default:"false" doc:"Keeps the report as an artifact of the scan, as the tool wrote it."`
	Version          string            `json:"version" doc:"A regular expression (RE2) that what it prints with version_args must match. Empty: any version, and it is not asked."`
	VersionArgs      []string          `json:"version_args" default:"--version" doc:"Arguments with which it prints its version."`
}

var placeholder = regexp.MustCompile(`\{(target|work|output)\}`)

// near finds what is likely to be meant as a placeholder and is none.
var near = regexp.MustCompile(`(?i)\{ *(tar[a-z]*|dir|path|root|src|source|work[a-z]*|out[a-z]*|report) *\}`)

// Validate finds what the schema cannot say.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Command == "" || strings.ContainsAny(c.Command, "{}") || strings.Contains(c.Command, "/") && !filepath.IsAbs(c.Command) {
		bad(`"command" must be an absolute path or a name in PATH, with its arguments in "args"`)
	}
	if !strings.Contains(strings.Join(c.Args, "\n"), "{target}") {
		bad(`"args" must have {target} in one of them: the tool runs elsewhere, and would scan nothing`)
	}
	for _, a := range c.Args {
		if m := near.FindString(a); m != "" && !placeholder.MatchString(m) {
			bad(`"args" has %q, and the placeholders are {target}, {work} and {output}`, m)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Severity)) {
		if _, ok := severities[c.Severity[k]]; !ok {
			bad(`"severity" of %.80q must be critical, high, medium, low or info`, k)
		}
	}
	for _, p := range slices.Concat(c.Files, c.Hide) {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.HasPrefix(p, "/") || strings.Contains(p, "**") {
			bad(`%.80q is no pattern: * stands for all but a slash, and there is no **; one without a slash fits names anywhere`, p)
		}
	}
	for k := range c.Env {
		if !envName.MatchString(k) {
			bad(`"env" has the name %.80q, which no variable can have`, k)
		}
	}
	for name, re := range map[string]string{"version": c.Version, "partial_if": c.PartialIf} {
		if _, err := regexp.Compile(re); err != nil {
			bad(`%q must be a regular expression: %w`, name, err)
		}
	}
	return errors.Join(errs...)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var severities = map[string]sdk.Severity{ //nolint:gochecknoglobals // a table, never written
	"critical": sdk.Critical, "high": sdk.High, "medium": sdk.Medium, "low": sdk.Low, "info": sdk.Info,
}

func (c *Config) severity() map[string]sdk.Severity {
	out := make(map[string]sdk.Severity, len(c.Severity))
	for k, v := range c.Severity {
		out[k] = severities[v]
	}
	return out
}

func (c *Config) exitCodes() []int {
	out := []int{} // none is accepted when none is given
	for _, s := range c.ExitCodes {
		if n, err := strconv.Atoi(s); err == nil { // the pattern has seen to it
			out = append(out, n)
		}
	}
	return out
}

// fits reports whether one of the patterns is for the file or directory.
func fits(patterns []string, name string) bool {
	for _, p := range patterns {
		subject := name
		if !strings.Contains(p, "/") {
			subject = path.Base(name)
		}
		if ok, _ := path.Match(p, subject); ok { // Validate has tried them
			return true
		}
	}
	return false
}
