package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// pluginRunFlags are the choices of one run.
type pluginRunFlags struct {
	pluginFlags
	target, options string
	secrets         []string
	out, failOn     string
	timeout         time.Duration
	json, sarif     bool
	quiet, logs     bool
}

func (p *program) pluginRunCommand() *cobra.Command {
	var f pluginRunFlags
	cmd := &cobra.Command{
		Use:   "run COMMAND [ARGUMENT...] PATH|URL",
		Short: "Run any executable as a plugin on a directory or URL, without a host",
		Long: `run starts the executable as a host does, has it scan a directory as it is or a
URL, and prints what a host would keep. There is no queue, no database and no
archive, so .gitignore is not looked at.

--secret says where an option is read that the plugin calls sensitive, as in
securetag scan.

The plugin gets an empty environment but for --env. An argument that names a file
is made absolute. Write -- before a command whose arguments begin with a dash.

Exit codes are those of securetag scan: 0 clean, 1 findings at or over --fail-on,
2 usage, 3 failed or partial, 6 out of time, 130 interrupted.`,
		Example: `  securetag plugin run ./my-plugin src
  securetag plugin run --sarif --out artifacts ./my-plugin https://example.com/
  securetag plugin run --env PATH -- python3 plugin.py src`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, a []string) error {
			f.target = a[len(a)-1]
			return p.runPlugin(cmd.Context(), a[:len(a)-1], f)
		},
	}
	fl := cmd.Flags()
	f.add(fl)
	fl.StringVar(&f.options, "options", "", "options of the scan, a JSON object")
	fl.StringArrayVar(&f.secrets, "secret", nil, secretUsage)
	fl.StringVar(&f.out, "out", "", "directory to copy artifacts to; it is made when it is missing")
	fl.StringVar(&f.failOn, "fail-on", "low", "least severity of a finding that makes the exit code 1 (critical, high, medium, low, info, unknown), or none")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Minute, "how long the scan may take")
	fl.BoolVar(&f.json, "json", false, "print the scan and its findings as JSON")
	fl.BoolVar(&f.sarif, "sarif", false, "print the findings as SARIF 2.1.0")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	fl.BoolVar(&f.logs, "logs", false, "show what the plugin logs")
	return cmd
}

func (p *program) runPlugin(ctx context.Context, a []string, f pluginRunFlags) error {
	threshold, err := report.ParseThreshold(f.failOn)
	if err != nil {
		return usageError{fmt.Errorf("--fail-on: %w", err)}
	}
	task, err := f.task()
	if err != nil {
		return usageError{err}
	}
	secrets, err := p.readSecrets(ctx, f.secrets)
	if err != nil {
		return err
	}
	task.Secret = secrets
	scan, findings, err := p.runTask(ctx, a, f, task)
	if err != nil {
		return err
	}
	format := "table"
	switch {
	case f.json:
		format = "json"
	case f.sarif:
		format = "sarif"
	}
	render, err := p.renderer(format, "")
	if err == nil {
		err = render(scan, findings)
	}
	if err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if code := report.ExitCode(scan, threshold); code != report.ExitClean {
		return &exitError{code: code}
	}
	return nil
}

// task is what is to be scanned, and how.
func (f pluginRunFlags) task() (host.Task, error) {
	task := host.Task{Scan: host.NewScanID(), Job: host.NewJobID(), Attempt: 1, ScanType: "run", DisplayName: f.target}
	switch {
	case f.json && f.sarif:
		return task, errors.New("--json and --sarif: choose one")
	case f.timeout <= 0:
		return task, fmt.Errorf("--timeout %v: give a time to wait, such as 30m", f.timeout)
	}
	if f.options != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(f.options), &object); err != nil {
			return task, fmt.Errorf("--options is not one JSON object: %w", err)
		}
		task.Options = json.RawMessage(f.options)
	}
	if isURL(f.target) {
		task.URL = f.target
		return task, nil
	}
	info, err := os.Stat(f.target)
	switch {
	case err != nil:
		return task, fmt.Errorf("look at the target: %w", err)
	case !info.IsDir():
		return task, fmt.Errorf("the target %s is neither a directory nor an http or https URL", f.target)
	}
	task.Root, err = filepath.Abs(f.target)
	return task, err
}

// runTask starts the plugin, runs the task, and gives what came of it in the
// words of the API. An error says that there was nothing to run.
func (p *program) runTask(ctx context.Context, a []string, f pluginRunFlags, task host.Task) (scan client.Scan, found []client.Finding, err error) {
	subject, err := p.subject(a, f.pluginFlags)
	if err != nil {
		return scan, nil, err
	}
	dir, err := executor.MkdirTemp("str-")
	if err != nil {
		return scan, nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, removePluginDir(dir)) }()
	task.WorkDir = filepath.Join(dir, "work")
	if err := os.Mkdir(task.WorkDir, 0o700); err != nil {
		return scan, nil, fmt.Errorf("make a work directory: %w", err)
	}
	level := hclog.Off
	if f.logs {
		level = hclog.Debug
	}
	const name = "plugin"
	e, err := executor.New(executor.Config{
		RunDir: filepath.Join(dir, "run"), HostVersion: p.version,
		Plugins: []executor.Plugin{{Name: name, Dev: true, Command: subject.Command, Args: subject.Args, Env: subject.Env, Config: subject.Config}},
	}, hclog.New(&hclog.LoggerOptions{Name: "securetag", Level: level, Output: p.stderr}))
	if err != nil {
		return scan, nil, usageError{err}
	}
	t, err := e.Try(ctx, name, executor.Taps{})
	if err != nil {
		return scan, nil, pluginFault(ctx, err)
	}
	defer t.Stop(true)
	info, err := t.Ready(ctx)
	if err != nil {
		return scan, nil, pluginFault(ctx, err)
	}
	for name := range task.Secret {
		if !slices.Contains(info.Secret, name) {
			return scan, nil, usageError{fmt.Errorf("--secret %.64q: plugin %s has no such option that it calls sensitive; those are: %s", name, info.Name, cmp.Or(strings.Join(info.Secret, ", "), "none"))}
		}
	}
	task.Plugin = info.Name
	sink := newRunSink(p, f, task)
	limited, cancel := context.WithTimeoutCause(ctx, f.timeout, errWaitedTooLong)
	defer cancel()
	rep, err := t.Run(limited, task, sink)
	sink.end(rep, err)
	return sink.scan, sink.found, nil
}

// removePluginDir removes what a plugin may have filled.
func removePluginDir(dir string) error {
	if err := executor.RemoveRuns(filepath.Join(dir, "run")); err != nil {
		return fmt.Errorf("remove the plugin's directory: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the plugin's directory: %w", err)
	}
	return nil
}

// pluginFault is why a plugin cannot be used, as a mistake of whoever named it.
func pluginFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var f *host.Fault
	if errors.As(err, &f) {
		err = errors.New(f.Message)
	}
	return usageError{err}
}

// runSink shows progress, and keeps findings and artifacts.
type runSink struct {
	p        *program
	out      string
	progress *report.Progress
	scan     client.Scan
	counts   host.Counts
	found    []client.Finding
}

func newRunSink(p *program, f pluginRunFlags, task host.Task) *runSink {
	now := time.Now().UTC()
	s := &runSink{
		p: p, out: f.out,
		progress: p.progress(f.quiet),
		scan: client.Scan{
			ID: string(task.Scan), Type: task.ScanType, Priority: client.Priority(host.PriorityNormal), State: client.StateRunning,
			URL: task.URL, CreatedAt: now, StartedAt: &now,
			Jobs: []client.Job{{ID: string(task.Job), Plugin: task.Plugin, State: client.StateRunning, Attempt: 1, MaxAttempts: 1, StartedAt: &now}},
		},
	}
	s.progress.Scan(s.scan)
	return s
}

func (s *runSink) Progress(pr host.Progress) {
	now := client.Progress(pr)
	s.scan.Jobs[0].Progress = &now
	s.progress.Scan(s.scan)
}

func (s *runSink) Note(n host.Note) {
	j := &s.scan.Jobs[0]
	j.Notes = append(j.Notes, client.Note{Level: string(n.Level), Text: n.Text, Path: n.Path})
}

func (s *runSink) Findings(_ context.Context, batch []host.Finding) error {
	for _, f := range batch {
		s.counts.Add(f.Severity, 1)
		s.found = append(s.found, client.Finding{
			ID: string(f.ID), ScanID: string(f.ScanID), JobID: string(f.JobID), Plugin: f.Plugin,
			RuleID: f.RuleID, Title: f.Title, Message: f.Message, Severity: string(f.Severity), Confidence: string(f.Confidence),
			Location: client.Location(f.Location), Snippet: f.Snippet, Fingerprint: f.Fingerprint,
			CWE: f.CWE, Tags: f.Tags, References: f.References, Properties: f.Properties, CreatedAt: f.CreatedAt.UTC(),
		})
	}
	return nil
}

// Artifact copies the artifact to --out, or only reads it.
func (s *runSink) Artifact(_ context.Context, a host.Artifact, r io.Reader) (int64, error) {
	h := sha256.New()
	n, err := s.keep(a.Name, io.TeeReader(r, h))
	if sum := fmt.Sprintf("%x", h.Sum(nil)); err == nil && a.SHA256 != "" && a.SHA256 != sum {
		err = fmt.Errorf("it has the hash %s: %w", sum, host.ErrInvalid)
	}
	return n, err
}

// keep writes a file under a name that the executor has checked. Nothing that
// is there is replaced.
func (s *runSink) keep(name string, r io.Reader) (int64, error) {
	if s.out == "" {
		return io.Copy(io.Discard, r)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return 0, fmt.Errorf("keep an artifact: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.out, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, fmt.Errorf("keep an artifact: %w", err)
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}

// end notes how the run ended.
func (s *runSink) end(rep host.Report, err error) {
	now := time.Now().UTC()
	j := &s.scan.Jobs[0]
	j.Progress, j.FinishedAt, s.scan.FinishedAt = nil, &now, &now
	j.State = client.State(rep.State)
	if rep.State == host.StateFailed {
		j.Error = &client.JobError{Code: string(host.CodePluginFailed), Message: rep.Reason, Attempt: 1}
		s.found, s.counts = nil, host.Counts{} // no result
	} else if rep.State == host.StateSucceeded {
		j.NotApplicable = rep.Reason
	} else if rep.Reason != "" {
		j.Error = &client.JobError{Code: string(host.CodePartial), Message: rep.Reason, Attempt: 1}
	}
	var f *host.Fault
	switch {
	case err == nil:
	case errors.Is(err, errWaitedTooLong):
		j.State, j.Error = client.StateTimedOut, &client.JobError{Code: string(host.CodeTimedOut), Message: "the scan did not end within --timeout", Attempt: 1}
	case errors.As(err, &f):
		j.State, j.Error = client.StateFailed, &client.JobError{Code: string(f.Code), Message: f.Message, Attempt: 1}
		if f.Err != nil {
			j.Error.Message += ": " + f.Err.Error()
		}
	default:
		j.State, j.Error = client.StateCanceled, &client.JobError{Code: string(host.CodeInternal), Message: err.Error(), Attempt: 1}
	}
	if err != nil {
		s.found, s.counts = nil, host.Counts{}
	}
	j.Counts, s.scan.Counts, s.scan.State = client.Counts(s.counts), client.Counts(s.counts), j.State
	s.progress.Scan(s.scan)
	s.progress.Stop()
}
