package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Exit codes of Execute: as of the host's own scan command.
const (
	exitClean    = 0
	exitFindings = 1
	exitUsage    = 2
	exitFailed   = 3
)

// Execute is what a plugin run by hand does with its arguments:
//
//	--describe           the description as JSON
//	scan [flags] TARGET  scan a directory or URL and print the findings
//	selftest [flags]     try what every plugin must get right
//	--debug              serve for a host that attaches instead of starting it
//
// It returns the exit code: 0 clean, 1 findings (of selftest: something is
// wrong), 2 usage, 3 failed or partial.
func Execute[C any](ctx context.Context, s Scanner[C], args []string, stdout, stderr io.Writer) int {
	log := hclog.New(&hclog.LoggerOptions{Name: s.Name, Level: hclog.Warn, Output: stderr})
	srv, err := NewServer(s, log)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	verb := ""
	if len(args) > 0 {
		verb = strings.TrimLeft(args[0], "-")
	}
	switch verb {
	case "describe":
		b, err := protojson.MarshalOptions{Multiline: true}.Marshal(srv.describe)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		fmt.Fprintln(stdout, string(b))
		return exitClean
	case "scan":
		return srv.scanByHand(ctx, args[1:], stdout, stderr)
	case "selftest":
		return selftest(ctx, s, args[1:], stdout, stderr)
	case "debug":
		log.SetLevel(hclog.Info)
		return srv.serveAttached(ctx, log, stdout, stderr)
	case "h", "help":
		help(stdout, srv.describe)
		return exitClean
	}
	help(stderr, srv.describe)
	return exitUsage
}

func help(w io.Writer, d *pluginv1.DescribeResponse) {
	fmt.Fprintf(w, `%[1]s %[2]s is a SecureTag scanner plugin.
%[3]s

A SecureTag host starts it. By hand it does this much:

  %[1]s --describe             print its description, settings and %[4]d rules as JSON
  %[1]s scan [flags] TARGET    scan a directory or URL and print the findings

      --json             one JSON object a line
      --config JSON      the settings, for example '{"name": 1}'
      --options JSON     the options of this scan
      --out DIR          copy the artifacts of the scan there

  %[1]s selftest               try what every plugin must get right: odd trees,
                               wrong settings, cancelling

      --config JSON      settings that work, when some are required

  %[1]s --debug                serve until interrupted, under a debugger if you
                               like, and say how a host attaches
`, d.Name, d.Version, d.Description, len(d.Rules))
}

func (s *Server) scanByHand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("scan", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "one JSON object a line")
	config := flags.String("config", "{}", "the settings as JSON")
	options := flags.String("options", "{}", "the options as JSON")
	kept := flags.String("out", "", "where to copy the artifacts to")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "scan: name one directory or URL")
		return exitUsage
	}
	resp, err := s.Configure(ctx, &pluginv1.ConfigureRequest{ConfigJson: []byte(*config)})
	for _, d := range resp.GetDiagnostics() {
		fmt.Fprintln(stderr, "config:", d.Summary)
	}
	if err != nil || wrong(resp.GetDiagnostics()) {
		return exitUsage
	}
	target, err := targetByHand(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "scan:", err)
		return exitUsage
	}
	work, err := os.MkdirTemp("", "scan-*")
	if err != nil {
		fmt.Fprintln(stderr, "scan: make a work directory:", err)
		return exitFailed
	}
	defer func() { _ = os.RemoveAll(work) }() // what is left there is the system's to sweep
	p := &printer{ctx: ctx, rules: make(map[string]*pluginv1.Rule), json: *asJSON, out: stdout, err: stderr, work: work, kept: *kept}
	for _, r := range s.describe.Rules {
		p.rules[r.Id] = r
	}
	req := &pluginv1.ScanRequest{RunId: "by-hand", Attempt: 1, Target: target, WorkDir: work, OptionsJson: []byte(*options)}
	if err := s.Scan(req, p); err != nil { //nolint:contextcheck // the stream carries it
		fmt.Fprintln(stderr, "scan:", err)
		return exitFailed
	}
	return p.code()
}

func targetByHand(arg string) (*pluginv1.Target, error) {
	if strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
		return &pluginv1.Target{Kind: &pluginv1.Target_Url{Url: arg}, DisplayName: arg}, nil
	}
	root, err := filepath.Abs(arg)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, errors.New(arg + " is not a directory")
	}
	return &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: root}, DisplayName: arg}, nil
}

// printer takes the place of the gRPC stream when a person runs the plugin.
type printer struct {
	grpc.ServerStream // nil: the methods below are all that Scan uses

	ctx       context.Context // as any gRPC stream has one
	rules     map[string]*pluginv1.Rule
	json      bool
	out, err  io.Writer
	work      string // where the artifacts are
	kept      string // where they are copied to; "" nowhere
	lost      bool   // one was not as was said
	completed *pluginv1.Completed
}

func (p *printer) Context() context.Context { return p.ctx }

func (p *printer) Send(ev *pluginv1.ScanEvent) error {
	switch e := ev.Event.(type) {
	case *pluginv1.ScanEvent_Findings:
		for _, f := range e.Findings.Findings {
			if err := p.finding(f); err != nil {
				return err
			}
		}
	case *pluginv1.ScanEvent_Diagnostic:
		fmt.Fprintln(p.err, strings.TrimPrefix(printable(e.Diagnostic.TargetPath)+": "+printable(e.Diagnostic.Summary), ": "))
	case *pluginv1.ScanEvent_Artifact:
		if err := p.artifact(e.Artifact); err != nil {
			p.lost = true
			fmt.Fprintf(p.err, "artifact %s is lost: %s\n", printable(e.Artifact.Name), printable(err.Error()))
		}
	case *pluginv1.ScanEvent_Completed:
		p.completed = e.Completed
	}
	return nil
}

// artifact lists one, and copies it when that was asked for, as a host would:
// opened beneath the work directory, its hash checked.
func (p *printer) artifact(a *pluginv1.Artifact) error {
	if err := noLinks(p.work, a.Path); err != nil {
		return err
	}
	f, err := openIn(p.work, a.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	to := io.Discard
	where := ""
	if p.kept != "" {
		if err := os.MkdirAll(p.kept, 0o755); err != nil {
			return err
		}
		where = filepath.Join(p.kept, filepath.Base(a.Name))
		g, err := os.Create(where)
		if err != nil {
			return err
		}
		defer func() { _ = g.Close() }() // the second time, unless something failed
		to = g
		where = " -> " + where
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, to), f)
	if c, ok := to.(io.Closer); ok && err == nil {
		err = c.Close()
	}
	if err == nil && a.Sha256 != "" && a.Sha256 != hex.EncodeToString(sum.Sum(nil)) {
		err = errors.New("it changed after it was sent")
	}
	if err == nil {
		fmt.Fprintf(p.err, "artifact %s (%s, %d bytes)%s\n", printable(a.Name), printable(a.MediaType), n, printable(where))
	}
	return err
}

func (p *printer) finding(f *pluginv1.Finding) error {
	if f.Severity == 0 {
		f.Severity = p.rules[f.RuleId].GetSeverity()
	}
	if p.json {
		b, err := protojson.Marshal(f)
		if err == nil {
			_, err = fmt.Fprintln(p.out, string(b))
		}
		return err
	}
	at := f.Location.Path + f.Location.Url
	if f.Location.StartLine > 0 {
		at += fmt.Sprintf(":%d", f.Location.StartLine)
	}
	if f.Location.StartColumn > 0 {
		at += fmt.Sprintf(":%d", f.Location.StartColumn)
	}
	severity := strings.ToLower(strings.TrimPrefix(f.Severity.String(), "SEVERITY_"))
	_, err := fmt.Fprintf(p.out, "%s: %s %s: %s\n", printable(at), severity, printable(f.RuleId), printable(f.Message))
	return err
}

func (p *printer) code() int {
	c := p.completed
	state := strings.ToLower(strings.TrimPrefix(c.GetStatus().String(), "STATUS_"))
	fmt.Fprintf(p.err, "%s: %d findings in %d files, %d bytes\n", state, c.GetFindings(), c.GetFilesScanned(), c.GetBytesScanned())
	if c.GetReason() != "" {
		fmt.Fprintln(p.err, printable(c.GetReason()))
	}
	switch {
	case c.GetStatus() == pluginv1.Completed_STATUS_NOT_APPLICABLE:
		return exitClean
	case c.GetStatus() != pluginv1.Completed_STATUS_SUCCEEDED || p.lost:
		return exitFailed
	case c.GetFindings() > 0:
		return exitFindings
	}
	return exitClean
}

// printable keeps text of the target from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
