package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/internal/safetext"
)

// Where the server and the key come from when no flag says it.
const (
	envServer = "SECURETAG_SERVER_URL"
	envKey    = "SECURETAG_API_KEY"
)

// scanFlags are the choices of one scan.
type scanFlags struct {
	on             serverKey
	local          bool
	project, kind  string
	priority       string
	format, failOn string
	output         string
	timeout        time.Duration
	quiet          bool
	newOnly        bool
	gated          bool // the server judges, by --fail-on and --new-only
	url            bool // it is a site that is scanned
	options        []string
	secrets        []string
}

func (p *program) scanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan PATH|ARCHIVE|URL",
		Short: "Scan a directory, an archive or a site and print the findings",
		Long: `scan packs a directory (honouring .gitignore), takes an archive as it is, or has a
site looked at from outside, and prints the findings. What begins with http:// or
https:// is a URL, also where a file has that name: write ./ before it. It does so
on a server: that of --server, of $` + envServer + ` or of securetag login.
Without one, or with --local, the whole host runs in this process, for this one scan,
and leaves nothing behind. A securetag.hcl in the working directory counts only when
--config names it: it may be part of what is scanned.

From here a site is scanned without proof that it is yours: you answer for it. On a
server it must be: see securetag targets. Addresses that are not public, and ports
but 80 and 443, are scanned only when the configuration allows them to the plugin.

A secret, such as the login of a site, does not stand on the command line, where
other users and the shell's history see it. --secret says where it is read:
  NAME=@FILE         a file
  NAME=env:VARIABLE  a variable of the environment
  NAME=-             standard input, or what is typed and not shown
What begins with {, [ or " there is JSON, everything else text, without the space
around it. NAME.KEY is the member KEY of NAME: headers.Authorization, cookies.session.

Exit codes:
  0    clean: the scan succeeded, nothing at or over --fail-on
  1    the scan succeeded, with findings at or over --fail-on, or did not pass
       the gate of its project
  2    usage or configuration, or an archive or URL that is refused
  3    the scan failed, is partial or was canceled, whatever it found
  4    credentials or quota, or a site that is not yours to have scanned
  5    network or server
  6    the scan timed out, or --timeout was over
  130  interrupted: the scan is canceled`,
		Example: `  securetag scan .
  securetag scan --format sarif -o findings.sarif .
  securetag scan --server https://scans.example.com --key "$KEY" app.zip
  securetag scan --secret headers.Authorization=@login.txt https://shop.example.com/`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			f.gated = f.project != "" && (f.newOnly || cmd.Flags().Changed("fail-on")) && f.failOn != "none"
			return p.scan(cmd, a[0], f)
		},
	}
	f.on.flags(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.local, "local", false, "scan in this process, whatever server the environment or a login names")
	fl.StringVar(&f.project, "project", "", "project that the scan belongs to")
	fl.StringVar(&f.kind, "type", "", "scan type (default codeaudit, for a URL web)")
	fl.StringVar(&f.priority, "priority", "normal", "which of your own scans go first: high, normal or low")
	fl.StringArrayVar(&f.options, "option", nil, "option of the scan type, as NAME=VALUE; VALUE is JSON or a string (repeatable)")
	fl.StringArrayVar(&f.secrets, "secret", nil, secretUsage)
	fl.StringVar(&f.format, "format", "table", oneOf(scanFormats()))
	fl.StringVarP(&f.output, "output", "o", "", "file to write in --format; standard output then shows the table")
	fl.StringVar(&f.failOn, "fail-on", "low", "least severity of a finding that makes the exit code 1 (critical, high, medium, low, info, unknown), or none")
	fl.BoolVar(&f.newOnly, "new-only", false, "with --project, let only findings fail the scan that were not there before")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Minute, "how long to wait for the scan")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	return cmd
}

func (p *program) scan(cmd *cobra.Command, target string, f scanFlags) error {
	render, err := p.renderer(f.format, f.output)
	if err != nil {
		return usageError{err}
	}
	threshold, err := report.ParseThreshold(f.failOn)
	if err != nil {
		return usageError{fmt.Errorf("--fail-on: %w", err)}
	}
	f.url = isURL(target)
	if f.kind == "" {
		f.kind = defaultType(f.url)
	}
	if err := errors.Join(f.check(), p.checkServer(cmd, f)); err != nil {
		return usageError{err}
	}
	if f.url {
		if target, err = checkURL(target); err != nil {
			return usageError{err}
		}
	}
	secrets, err := p.readSecrets(cmd.Context(), f.secrets)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), f.timeout, errWaitedTooLong)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	progress := p.progress(f.quiet)
	start, err := p.prepare(ctx, target, f, secrets, progress)
	if err != nil {
		return p.scanError(ctx, f, err)
	}
	conn, err := p.connect(ctx, cmd, f, progress, giveUp)
	if err != nil {
		return p.scanError(ctx, f, err)
	}
	scan, findings, err := runScan(ctx, conn.client, start, progress)
	progress.Stop()
	if serr := conn.close(); err == nil && serr != nil {
		err = fmt.Errorf("stop the scan host: %w", serr)
	}
	if err != nil {
		return p.scanError(ctx, f, err)
	}
	if err := render(scan, findings); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	p.hintPlugins(scan, conn.pluginDir)
	p.hintRefused(scan, conn.pluginDir)
	if g := scan.Gate; g != nil && !f.quiet {
		for _, reason := range g.Reasons {
			fmt.Fprintln(p.stderr, "Gate: "+safetext.Plain(reason))
		}
	}
	if code := report.ExitCode(scan, threshold); code != report.ExitClean {
		return &exitError{code: code}
	}
	return nil
}

// progress shows on standard error how far a scan is.
func (p *program) progress(quiet bool) *report.Progress {
	return report.NewProgress(report.ProgressConfig{
		Out: p.stderr, Live: p.terminal(p.stderr), Quiet: quiet,
		WidthFunc: func() int { return p.width(p.stderr) },
	})
}

// checkServer refuses a server that is named by nothing at all: a variable that CI
// does not have would send the scan to another server, or keep it here, and
// nobody would see it.
func (p *program) checkServer(cmd *cobra.Command, f scanFlags) error {
	named, set := p.lookupEnv(envServer)
	switch {
	case f.local || f.on.server != "":
		return nil
	case cmd.Flags().Changed("server"):
		return errors.New("--server is empty: give the server's URL, leave it out, or give --local to scan in this process")
	case set && named == "":
		return fmt.Errorf("%s is set and empty: give it the server's URL, unset it, or give --local to scan in this process", envServer)
	}
	return nil
}

// check finds what the host would refuse only after the upload.
func (f scanFlags) check() error {
	if intake.CheckProject(f.project) != nil {
		return fmt.Errorf("--project %q: use letters, digits, _ and -, at most 64", f.project)
	}
	if !host.Priority(f.priority).Valid() {
		return fmt.Errorf("--priority %q: use high, normal or low", f.priority)
	}
	if f.newOnly && (f.project == "" || f.failOn == "none") {
		return errors.New("--new-only needs --project, whose scans before say what is new, and a severity for --fail-on")
	}
	if _, err := parseOptions(f.options); err != nil {
		return err
	}
	if _, err := parseSecrets(f.secrets); err != nil {
		return err
	}
	if f.local && f.on.server != "" {
		return errors.New("--local and --server exclude each other: give one of them")
	}
	if info, err := os.Stat(filepath.Dir(f.output)); f.output != "" && (err != nil || !info.IsDir()) {
		return fmt.Errorf("--output %q: there is no directory %q", f.output, filepath.Dir(f.output))
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %v: give a time to wait, such as 30m", f.timeout)
	}
	return nil
}

// scanFormats are what a scan is printed in: for people, and as documents.
func scanFormats() []export.Format {
	return append([]export.Format{"table", "json"}, export.Formats()...)
}

// renderer writes in a format: to a file, with the table on standard output, or
// with "" to standard output.
func (p *program) renderer(name, output string) (func(client.Scan, []client.Finding) error, error) {
	table := func(s client.Scan, f []client.Finding) error { return report.Table(p.stdout, s, f, p.tableConfig()) }
	var document func(io.Writer, client.Scan, []client.Finding) error
	switch format := export.Format(name); {
	case name == "table" && output == "":
		return table, nil
	case name == "table":
		document = func(w io.Writer, s client.Scan, f []client.Finding) error {
			return report.Table(w, s, f, report.TableConfig{})
		}
	case name == "json":
		document = report.JSON
	case slices.Contains(export.Formats(), format):
		document = func(w io.Writer, s client.Scan, f []client.Finding) error {
			return export.Write(w, format, export.Report{Scan: s, Findings: export.Of(report.Sorted(f)), Version: p.version})
		}
	default:
		return nil, fmt.Errorf("--format %q: use one of %s", name, oneOf(scanFormats()))
	}
	return func(s client.Scan, findings []client.Finding) error {
		err := p.writeTo(output, func(w io.Writer) error { return document(w, s, findings) })
		if err == nil && output != "" {
			err = table(s, findings)
		}
		return err
	}, nil
}

func (p *program) tableConfig() report.TableConfig {
	if f, ok := p.stdout.(*os.File); ok {
		return report.ForTerminal(f, p.getenv)
	}
	return report.TableConfig{}
}

// Why a scan's context ended, beside an interrupt.
var (
	errWaitedTooLong = errors.New("the scan did not end in time")
	errHostEnded     = errors.New("the host in this process ended before the scan did")
)

func (p *program) scanError(ctx context.Context, f scanFlags, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errWaitedTooLong):
		fmt.Fprintf(p.stderr, "Error: the scan did not end within --timeout (%v) and was canceled.\n", f.timeout)
		return &exitError{code: report.ExitTimeout}
	case errors.Is(cause, errHostEnded):
		fmt.Fprintln(p.stderr, "Error: "+safetext.Plain(cause.Error()))
		return &exitError{code: report.ExitServer}
	}
	return err
}

// hintPlugins says what to do when a plugin of this machine did not start. dir
// is "" when the scan ran on another.
func (p *program) hintPlugins(scan client.Scan, dir string) {
	for _, j := range scan.Jobs {
		if dir != "" && j.Error != nil && j.Error.Code == string(host.CodePluginUnavailable) {
			fmt.Fprintf(p.stderr, "Hint: plugins are looked up in %s (plugin_dir, SECURETAG_PLUGIN_DIR). \"securetag plugin list\" tries each one.\n", dir)
			return
		}
	}
}
