package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host/executor/conformance"
	"github.com/securetaghq/securetag/internal/safetext"
)

// pluginTestFlags are the choices of one test.
type pluginTestFlags struct {
	pluginFlags
	sample, junit string
	only          []string
	memory        int64
	timeout       time.Duration
	json, list    bool
}

func (p *program) pluginTestCommand() *cobra.Command {
	var f pluginTestFlags
	cmd := &cobra.Command{
		Use:   "test COMMAND [ARGUMENT...]",
		Short: "Test any executable against the plugin contract",
		Long: `test starts the executable as a host does and checks that it keeps the contract,
whatever language it is written in: its description, settings, scans of odd and
hostile trees, events, findings, cancels, memory, and how it ends. docs/plugins/testing.md
says what each check means and how to mend what it finds.

The plugin gets an empty environment but for --env, as it does from a host. An
argument that names a file is made absolute. Write -- before a command whose
arguments begin with a dash.

Exit codes:
  0  every check passes, or is not applicable, or only warns
  1  a check fails
  2  usage, or a test that could not be done`,
		Example: `  securetag plugin test ./my-plugin
  securetag plugin test --sample testdata/project --only findings ./my-plugin
  securetag plugin test --env PATH -- python3 plugin.py`,
		Args: args(func(cmd *cobra.Command, a []string) error {
			if f.list {
				return cobra.NoArgs(cmd, a)
			}
			return cobra.MinimumNArgs(1)(cmd, a)
		}),
		RunE: func(cmd *cobra.Command, a []string) error { return p.testPlugin(cmd, a, f) },
	}
	fl := cmd.Flags()
	f.add(fl)
	fl.StringVar(&f.sample, "sample", "", "directory in which the plugin finds something")
	fl.StringSliceVar(&f.only, "only", nil, "checks to do, by id or group: findings.path, describe")
	fl.Int64Var(&f.memory, "memory", 0, "MiB that a scan may use (default what the plugin requires, else 512)")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long one scan may take")
	fl.BoolVar(&f.json, "json", false, "print the report as JSON")
	fl.StringVar(&f.junit, "junit", "", "also write the report to this file, as JUnit XML")
	fl.BoolVar(&f.list, "list", false, "print the checks and do nothing")
	return cmd
}

func (p *program) testPlugin(cmd *cobra.Command, a []string, f pluginTestFlags) error {
	if f.list {
		for _, c := range conformance.Checks() {
			fmt.Fprintf(p.stdout, "%-28s %s\n", c.ID, c.Title)
		}
		return nil
	}
	if _, err := conformance.Select(f.only); err != nil {
		return usageError{fmt.Errorf("--only: %w; --list prints them", err)}
	}
	if f.memory < 0 || f.timeout <= 0 {
		return usageError{fmt.Errorf("--memory %d, --timeout %v: give more than 0", f.memory, f.timeout)}
	}
	subject, err := p.subject(a, f.pluginFlags)
	if err != nil {
		return err
	}
	show := &checkPrinter{p: p, color: p.tableConfig().Color}
	o := conformance.Options{
		Only: f.only, Sample: f.sample, HostVersion: p.version, ScanTimeout: f.timeout, Memory: f.memory << 20,
	}
	if !f.json {
		o.ResultFunc = show.result
	}
	rep, err := conformance.Run(cmd.Context(), subject, o)
	if err != nil {
		if cmd.Context().Err() != nil {
			return err
		}
		return usageError{fmt.Errorf("test the plugin: %w", err)}
	}
	if f.junit != "" {
		if err := writeJUnit(f.junit, rep); err != nil {
			return usageError{err}
		}
	}
	if f.json {
		if err := report.Document(p.stdout, rep); err != nil {
			return err
		}
	} else {
		show.summary(rep)
	}
	if !rep.OK() {
		return &exitError{code: report.ExitFindings}
	}
	return nil
}

// subject is the executable with its arguments, environment and settings.
func (p *program) subject(a []string, f pluginFlags) (conformance.Plugin, error) {
	command, rest, err := pluginCommandLine(a)
	if err != nil {
		return conformance.Plugin{}, err
	}
	env, err := p.pluginEnv(f)
	if err != nil {
		return conformance.Plugin{}, err
	}
	settings, err := f.settings()
	return conformance.Plugin{Command: command, Args: rest, Env: env, Config: settings}, err
}

// checkPrinter prints results as they come.
type checkPrinter struct {
	p     *program
	color bool
	group string
}

func (c *checkPrinter) result(r conformance.Result) {
	out := c.p.stdout
	if g := r.Group(); g != c.group {
		if c.group != "" {
			fmt.Fprintln(out)
		}
		c.group = g
		fmt.Fprintln(out, g)
	}
	took := ""
	if r.Took >= 100*time.Millisecond {
		took = " (" + r.Took.Round(time.Millisecond).String() + ")"
	}
	fmt.Fprintf(out, "  %s %s%s\n", c.mark(r.Status), r.Title, c.paint("2", took))
	switch r.Status {
	case conformance.Fail, conformance.Warn:
		fmt.Fprintf(out, "      check  %s\n      seen   %s\n      do     %s\n      rule   %s\n", r.ID, safetext.Plain(r.Saw), r.Fix, r.Rule)
	case conformance.NotApplicable:
		fmt.Fprintf(out, "      %s\n", c.paint("2", "not applicable: "+safetext.Plain(r.Saw)))
	}
}

func (c *checkPrinter) mark(s conformance.Status) string {
	switch s {
	case conformance.Pass:
		return c.paint("32", "✓")
	case conformance.Fail:
		return c.paint("1;31", "✗")
	case conformance.Warn:
		return c.paint("33", "!")
	default:
		return c.paint("2", "–")
	}
}

func (c *checkPrinter) paint(code, s string) string {
	if !c.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (c *checkPrinter) summary(rep conformance.Report) {
	name := "The plugin"
	if rep.Name != "" {
		name = safetext.Plain(rep.Name + " " + rep.Version)
	}
	verdict := "keeps the contract"
	if !rep.OK() {
		verdict = "does not keep the contract"
	}
	fmt.Fprintf(c.p.stdout, "\n%s %s: %d passed, %d failed, %d warned, %d not applicable in %s\n", name, verdict,
		rep.Count(conformance.Pass), rep.Count(conformance.Fail), rep.Count(conformance.Warn), rep.Count(conformance.NotApplicable),
		rep.Took.Round(10*time.Millisecond))
}

// The part of JUnit's format that every reader knows.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     float64     `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Time    float64    `xml:"time,attr"`
	Failure *junitText `xml:"failure,omitempty"`
	Skipped *junitText `xml:"skipped,omitempty"`
	Output  string     `xml:"system-out,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func writeJUnit(path string, rep conformance.Report) error {
	suite := junitSuite{
		Name: "securetag plugin test " + safetext.Plain(rep.Name), Tests: len(rep.Results),
		Failures: rep.Count(conformance.Fail), Skipped: rep.Count(conformance.NotApplicable), Time: rep.Took.Seconds(),
	}
	for _, r := range rep.Results {
		c := junitCase{Class: r.Group(), Name: r.ID, Time: r.Took.Seconds()}
		saw := safetext.Plain(r.Saw)
		switch r.Status {
		case conformance.Fail:
			c.Failure = &junitText{saw, r.Fix + "\n" + r.Rule}
		case conformance.NotApplicable:
			c.Skipped = &junitText{Message: saw}
		case conformance.Warn:
			c.Output = "warning: " + saw + "\n" + r.Fix
		}
		suite.Cases = append(suite.Cases, c)
	}
	doc, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the JUnit report: %w", err)
	}
	if err := os.WriteFile(path, append([]byte(xml.Header), append(doc, '\n')...), 0o644); err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	return nil
}
