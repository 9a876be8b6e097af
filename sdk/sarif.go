package sdk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SARIFTool is a scanner with a command line that writes a SARIF 2.1.0 report.
// ExecSARIF makes a plugin of it; a Scan that adds arguments from its settings
// or options calls Scan of a copy.
//
// # Rules
//
// A plugin declares its rules before it is configured, and always the same; a
// tool's rules are only certain once it has run. So a result counts for the
// declared rule of the same id, when there is one (SARIFRules makes them of a
// report that was kept beside the plugin's source), and else for the rule
// Other, with the tool's rule in its properties and its identity: it keeps its
// fingerprint, whatever else the tool reports at the same place. Nothing that
// the tool reports is left out for the lack of a rule.
type SARIFTool struct {
	// Command is the program, by path or in PATH, and its arguments. {target}
	// in them is the absolute path of the tree, or the URL; {work} is
	// Target.WorkDir, where the program runs too.
	Command []string
	Env     []string // "NAME=value", beside PATH, HOME and TMPDIR
	// ExitCodes are those with which there is a report; nil: only 0.
	ExitCodes []int
	// Report is the file, below {work}, that the program writes; "": it prints
	// the report.
	Report string
	// MaxReport is how large the report may be; 0: 32 MiB. A larger one is an
	// error, not cut.
	MaxReport Bytes
	Timeout   time.Duration // 0: as long as the host allows
	// Severity says what a SARIF level ("error", "warning", "note", "none")
	// means, and what the results of a rule are, by the tool's id of it, which
	// comes first. A level that is not in it is what the rule's security-severity
	// says, and else high, medium, low, info.
	Severity map[string]Severity
	// Tree is a copy of the target that the tool looked at in its place, as an
	// absolute path: places in it are places in the target. "": none.
	Tree string
	// Elsewhere says that the tool ran on another machine, and that there is no
	// tree here: paths count from the roots that the report names, and findings
	// have the tool's name in their identity, and in the property tool.
	Elsewhere bool
	// Other is the declared rule of results whose rule is not declared. It must
	// be declared; ExecSARIF does it.
	Other string
	// PartialOnWarning makes the result partial by a warning among the tool's
	// notifications, as by an error: for tools to which a file that took too long,
	// or that they could not read whole, is one.
	PartialOnWarning bool
	// HideSnippets leaves out the text at the place: for tools that find
	// secrets and do not redact them.
	HideSnippets bool
	// KeepAs keeps the report as an artifact of that name; "": it is not kept.
	KeepAs string
}

// ExecSARIF makes a plugin of a tool. It adds to s what follows from that: Scan,
// the rule Other (by default with the id s.Name), a tree as its input when
// Consumes is empty, and Needs.SpawnsProcesses.
func ExecSARIF[C any](s Scanner[C], tool SARIFTool) Scanner[C] {
	if tool.Other == "" {
		tool.Other = s.Name
	}
	if !slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.ID == tool.Other }) {
		s.Rules = append(slices.Clone(s.Rules), Rule{ID: tool.Other, Title: "Reported by " + s.Name,
			Description: "What the tool reports by a rule of its own; the properties of a finding name it."})
	}
	if len(s.Consumes) == 0 {
		s.Consumes = []Input{Tree}
	}
	s.Needs.SpawnsProcesses = true
	s.Scan = func(ctx context.Context, _ *C, t *Target, out *Out) error { return tool.Scan(ctx, t, out) }
	return s
}

// Scan runs the tool on the target and reports what its report says.
func (s SARIFTool) Scan(ctx context.Context, t *Target, out *Out) error {
	if len(s.Command) == 0 {
		return fmt.Errorf("the SARIF tool has no command")
	}
	target := t.Root()
	if target == "" {
		target = t.URL()
	}
	c := Command{Env: s.Env, ExitCodes: s.ExitCodes, Timeout: s.Timeout, MaxOutput: s.maxReport()}
	if s.Tree != "" {
		target = s.Tree
	}
	put := strings.NewReplacer("{target}", target, "{work}", t.WorkDir())
	for _, arg := range s.Command {
		c.Args = append(c.Args, put.Replace(arg))
	}
	out.Progress(Progress{Phase: "running", Message: filepath.Base(c.Args[0])})
	ran, err := t.Run(ctx, c)
	if err != nil {
		return err
	}
	report := ran.Stdout
	if s.Report != "" {
		if report, err = s.readReport(t); err != nil {
			return fmt.Errorf("read the report of %s: %w", filepath.Base(c.Args[0]), err)
		}
	}
	if err := s.Read(report, t, out); err != nil {
		return fmt.Errorf("read the report of %s: %w", filepath.Base(c.Args[0]), err)
	}
	if s.KeepAs == "" {
		return nil
	}
	return out.Artifact(s.KeepAs, "application/sarif+json", func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(report))
		return err
	})
}

func (s SARIFTool) maxReport() Bytes {
	if s.MaxReport <= 0 {
		return defaultMaxOutput
	}
	return s.MaxReport
}

// readReport reads the file that the tool wrote, not what a link names.
func (s SARIFTool) readReport(t *Target) ([]byte, error) {
	if !filepath.IsLocal(s.Report) {
		return nil, fmt.Errorf("%q is not in the work directory", s.Report)
	}
	if err := noLinks(t.WorkDir(), s.Report); err != nil {
		return nil, err
	}
	f, err := openIn(t.WorkDir(), s.Report)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(s.maxReport())+1))
	if err == nil && Bytes(len(b)) > s.maxReport() {
		err = fmt.Errorf("it is larger than %s", s.maxReport())
	}
	return b, err
}
