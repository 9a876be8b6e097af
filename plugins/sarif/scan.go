package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/securetaghq/securetag/sdk"
)

// defaultReport is what {output} is called, in the work directory.
const defaultReport = "report.sarif"

// plugin is one tool of an operator.
type plugin struct {
	id identity
	prober
}

// scan runs the tool and reports what its report says. Whatever is not a whole
// report with an exit code that the operator accepts is a failure.
func (p *plugin) scan(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
	if why := p.wrong(ctx, c); why != "" {
		return errors.New(why)
	}
	seen, err := look(ctx, c, t, out)
	if err != nil {
		return err
	}
	tool := sdk.SARIFTool{Severity: c.severity(), Other: p.id.name, HideSnippets: c.HideSnippets, PartialOnWarning: c.PartialOnWarning, Tree: seen.copied}
	say := newCensor(c, t, seen.copied)
	report, ran, err := p.run(ctx, c, t, out, seen)
	if err == nil {
		if err = tool.Read(report, t, out); err != nil {
			err = fmt.Errorf("the report of %s is not taken: %w", filepath.Base(c.Command), err)
		}
	}
	if err != nil {
		return say.reason(err, ran.Stderr)
	}
	out.Scanned(seen.files, seen.bytes)
	if line := c.says(ran); line != "" {
		out.Partial("the tool says: " + say.clean(line))
	}
	if !c.KeepReport {
		return nil
	}
	return out.Artifact(p.id.name+".sarif", "application/sarif+json", func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(report))
		return err
	})
}

// says is the first line by which the operator knows that the tool did not look at
// all; "" for none.
func (c *Config) says(ran sdk.Ran) string {
	if c.PartialIf == "" {
		return ""
	}
	bad := regexp.MustCompile(c.PartialIf) // Validate has tried it
	for line := range strings.Lines(strings.ToValidUTF8(string(ran.Stdout)+"\n"+ran.Stderr, "")) {
		if bad.MatchString(strings.TrimRight(line, "\r\n")) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// saidMost is how much of what a tool prints beside its report is looked at.
const saidMost = 64 << 10

// ending keeps the end of what is written to it, as sdk.Ran does of standard error.
type ending []byte

func (e *ending) Write(p []byte) (int, error) {
	*e = append(*e, p...)
	if over := len(*e) - saidMost; over > 0 {
		*e = append((*e)[:0], (*e)[over:]...)
	}
	return len(p), nil
}

// run gives the report of a run that ended as the operator accepts. What else it
// printed is in Ran.
func (p *plugin) run(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out, seen tree) ([]byte, sdk.Ran, error) {
	target := t.Root()
	if seen.copied != "" {
		target = seen.copied
	}
	work := t.WorkDir() // where it runs, too
	name := cmp.Or(c.Report, defaultReport)
	put := strings.NewReplacer("{target}", target, "{work}", work, "{output}", filepath.Join(work, name))
	cmd := sdk.Command{Args: []string{c.Command}, Timeout: c.Timeout, MaxOutput: c.MaxReport, ExitCodes: c.exitCodes()}
	toFile := c.Report != ""
	for _, a := range c.Args {
		cmd.Args = append(cmd.Args, put.Replace(a))
		toFile = toFile || strings.Contains(a, "{output}")
	}
	var said ending
	if toFile {
		cmd.Stdout = &said
	}
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+put.Replace(v))
	}
	for _, k := range c.EnvPass {
		if v, ok := os.LookupEnv(k); ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	out.Progress(sdk.Progress{Phase: "running", Message: filepath.Base(c.Command)})
	ran, err := t.Run(ctx, cmd)
	if err != nil || !toFile {
		report := ran.Stdout
		ran.Stdout = nil
		return report, ran, err
	}
	ran.Stdout = said
	report, err := readOutput(work, name, c.MaxReport)
	if err != nil {
		err = fmt.Errorf("read the report that %s was to write: %w", filepath.Base(c.Command), err)
	}
	return report, ran, err
}

// readOutput reads a regular file, not what a link or a pipe in its place leads
// to.
func readOutput(work, name string, most sdk.Bytes) ([]byte, error) {
	root, err := os.OpenRoot(work)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read
	info, err := root.Lstat(name)
	if err != nil {
		return nil, errors.New("it wrote none")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	report, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && sdk.Bytes(len(report)) > most {
		err = fmt.Errorf("it is larger than %s", most)
	}
	return report, err
}

// tree is what the tool is to look at.
type tree struct {
	files, bytes uint64 // that it is for
	copied       string // the copy without what is hidden from it; "": none is needed
}

// look counts the files that the tool is for, and makes a copy of the tree when
// there is something in it that the tool must not see.
func look(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) (seen tree, err error) {
	out.Progress(sdk.Progress{Phase: "walking"})
	var shown []sdk.File
	var hidden []string
	skip := func(dir string) bool {
		if fits(c.Hide, dir) {
			hidden = append(hidden, dir)
			return true
		}
		return false
	}
	for f, err := range t.FilesExcept(ctx, skip) {
		switch {
		case ctx.Err() != nil:
			return seen, context.Cause(ctx)
		case err != nil:
			out.Note(sdk.Note{Level: sdk.Warning, Path: f.Path, Summary: "could not be read"})
			out.Partial("some files could not be read")
		case fits(c.Hide, f.Path):
			hidden = append(hidden, f.Path)
		default:
			shown = append(shown, f)
			if len(c.Files) == 0 || fits(c.Files, f.Path) {
				seen.files++
				seen.bytes += uint64(f.Size)
			}
		}
	}
	switch {
	case seen.files == 0 && len(c.Files) > 0:
		return seen, sdk.NotApplicable("no files that it looks at: " + strings.Join(c.Files, ", "))
	case seen.files == 0:
		return seen, sdk.NotApplicable("no files")
	case len(hidden) == 0:
		return seen, nil
	}
	out.Note(sdk.Note{Summary: fmt.Sprintf("%d files or directories of the target are hidden from the tool, as its settings say: %s", len(hidden), some(hidden))})
	seen.copied = filepath.Join(t.WorkDir(), "tree")
	if err := copyTree(ctx, seen.copied, shown); err != nil {
		return seen, fmt.Errorf("copy the target without what is hidden from the tool (limits.disk of the plugin must have room for it): %w", err)
	}
	return seen, nil
}

// some are the first of many names.
func some(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

func copyTree(ctx context.Context, to string, files []sdk.File) error {
	made := map[string]bool{}
	for _, f := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		dir := filepath.Join(to, filepath.FromSlash(path.Dir(f.Path)))
		if !made[dir] {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return errors.New(path.Dir(f.Path) + ": " + errors.Unwrap(err).Error())
			}
			made[dir] = true
		}
		if err := copyFile(filepath.Join(dir, path.Base(f.Path)), f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func copyFile(to string, f sdk.File) (err error) {
	from, err := f.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := file.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = io.Copy(file, from)
	return err
}
