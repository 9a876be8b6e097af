// Package sdktest runs a scanner in a test as a host would, in the same process:
// settings are checked, events are checked against the contract, and what came
// of it is plain values to compare.
package sdktest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

// Statuses of a Result.
const (
	Succeeded     = "succeeded"
	Partial       = "partial"
	Failed        = "failed"
	Canceled      = "canceled"
	NotApplicable = "not applicable"
	Refused       = "refused" // by sdk.Refuse, or by the SDK: the request or the settings are wrong
)

// Request is what a host would ask for. The zero value is an empty tree.
type Request struct {
	Files   map[string]string // the tree: path to content
	Root    string            // a directory to scan instead of Files
	URL     string            // a URL instead of a tree
	Config  string            // the operator's settings as JSON; "" is {}
	Options string            // the client's options as JSON; "" is {}
	// PermittedHosts are those that the scan of a URL may call; none: nobody says.
	PermittedHosts []string
	// CancelAt cancels the scan with the first event for which it is true; nil:
	// never.
	CancelAt func(*pluginv1.ScanEvent) bool
}

// Result is what came of a scan.
type Result struct {
	Status    string
	Reason    string // one line; "" with Succeeded
	Retryable bool
	Findings  []Finding // by path, line, column and rule
	Notes     []string  // "path: summary", in order
	Artifacts []Artifact
	Files     uint64 // scanned
	Bytes     uint64
}

// Finding is a finding with the rule it is by. Its severity is the rule's when
// the scanner gave none.
type Finding struct {
	Rule string
	sdk.Finding
}

// String is the place and the rule: "main.go:3:19 todo".
func (f Finding) String() string {
	s := f.At.Path + f.At.URL
	if f.At.StartLine > 0 {
		s += fmt.Sprintf(":%d", f.At.StartLine)
	}
	if f.At.StartColumn > 0 {
		s += fmt.Sprintf(":%d", f.At.StartColumn)
	}
	return s + " " + f.Rule
}

// Artifact is a file that the scan kept.
type Artifact struct {
	Name, MediaType string
	Data            []byte
}

// Places lists the findings by String.
func (r Result) Places() []string {
	out := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		out[i] = f.String()
	}
	return out
}

// Scan scans a tree of files (path to content) with the settings config ("" is
// {}). It fails the test when the scanner breaks the contract, and otherwise
// tells what came of it, failure as well.
func Scan[C any](t testing.TB, s sdk.Scanner[C], files map[string]string, config string) Result {
	t.Helper()
	return Run(t, s, Request{Files: files, Config: config})
}

// Run is Scan for everything a request can have.
func Run[C any](t testing.TB, s sdk.Scanner[C], req Request) Result {
	t.Helper()
	srv, err := sdk.NewServer(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{ConfigJson: []byte(req.Config)})
	if err != nil {
		t.Fatal(err)
	}
	if why := mistakes(resp.Diagnostics); why != "" {
		return Result{Status: Refused, Reason: why}
	}
	target := &pluginv1.Target{DisplayName: t.Name()}
	switch {
	case req.URL != "":
		target.Kind = &pluginv1.Target_Url{Url: req.URL}
	case req.Root != "":
		target.Kind = &pluginv1.Target_Root{Root: req.Root}
	default:
		target.Kind = &pluginv1.Target_Root{Root: tree(t, req.Files)}
	}
	r := &recorder{ctx: t.Context(), t: t, srv: srv, cancelAt: req.CancelAt, work: t.TempDir(), rules: map[string]sdk.Severity{}}
	for _, rule := range s.Rules {
		r.rules[rule.ID] = rule.Severity
	}
	err = srv.Scan(&pluginv1.ScanRequest{RunId: runID, Attempt: 1, Target: target, OptionsJson: []byte(req.Options), WorkDir: r.work, IdentityKey: []byte("sdktest"), PermittedHosts: req.PermittedHosts}, r)
	if err != nil {
		_, why, _ := strings.Cut(err.Error(), "desc = ")
		return Result{Status: Refused, Reason: why}
	}
	return r.end()
}

const runID = "test"

func mistakes(diags []*pluginv1.Diagnostic) string {
	var out []string
	for _, d := range diags {
		if d.Severity == pluginv1.Diagnostic_SEVERITY_ERROR {
			out = append(out, d.Summary)
		}
	}
	return strings.Join(out, "; ")
}

func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// recorder stands in for the stream.
type recorder struct {
	grpc.ServerStream // nil: the methods below are all that Scan uses

	ctx      context.Context // as any gRPC stream has one
	t        testing.TB
	srv      *sdk.Server
	cancelAt func(*pluginv1.ScanEvent) bool
	once     sync.Once
	work     string
	rules    map[string]sdk.Severity
	result   Result
	sent     uint64
	done     *pluginv1.Completed
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Send(ev *pluginv1.ScanEvent) error {
	r.t.Helper()
	if _, err := proto.Marshal(ev); err != nil || proto.Size(ev) > wire.MaxEvent {
		r.t.Errorf("a message of %d bytes: %v", proto.Size(ev), err)
	}
	if r.done != nil {
		r.t.Error("an event after Completed")
	}
	switch e := ev.Event.(type) {
	case *pluginv1.ScanEvent_Findings:
		for _, f := range e.Findings.Findings {
			r.finding(f)
		}
	case *pluginv1.ScanEvent_Diagnostic:
		r.result.Notes = append(r.result.Notes, strings.TrimPrefix(e.Diagnostic.TargetPath+": "+e.Diagnostic.Summary, ": "))
	case *pluginv1.ScanEvent_Artifact:
		data, err := os.ReadFile(filepath.Join(r.work, filepath.FromSlash(e.Artifact.Path)))
		if err != nil {
			r.t.Errorf("artifact %q: %v", e.Artifact.Name, err)
		}
		r.result.Artifacts = append(r.result.Artifacts, Artifact{Name: e.Artifact.Name, MediaType: e.Artifact.MediaType, Data: data})
	case *pluginv1.ScanEvent_Completed:
		r.done = e.Completed
	}
	if r.cancelAt != nil && r.cancelAt(ev) {
		r.once.Do(func() {
			_, _ = r.srv.Cancel(r.ctx, &pluginv1.CancelRequest{RunId: runID, Reason: "the test"}) // never an error
		})
	}
	return nil
}

func (r *recorder) finding(f *pluginv1.Finding) {
	r.t.Helper()
	r.sent++
	l := f.Location
	if p := l.GetPath(); p != "" && (path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../")) {
		r.t.Errorf("a finding by %q is at %q: paths are relative to the root, without \"..\"", f.RuleId, p)
	}
	severity := sdk.Severity(f.Severity)
	if severity == 0 {
		severity = r.rules[f.RuleId]
	}
	r.result.Findings = append(r.result.Findings, Finding{Rule: f.RuleId, Finding: sdk.Finding{
		Message: f.Message, Severity: severity, Confidence: sdk.Confidence(f.Confidence),
		At: sdk.Location{Path: l.GetPath(), StartLine: int(l.GetStartLine()), StartColumn: int(l.GetStartColumn()),
			EndLine: int(l.GetEndLine()), EndColumn: int(l.GetEndColumn()), URL: l.GetUrl()},
		Snippet: f.Snippet, Identity: f.Identity, Properties: f.Properties,
	}})
}

// end puts the result in order.
func (r *recorder) end() Result {
	r.t.Helper()
	if r.done == nil {
		r.t.Fatal("the scan ended without Completed")
	}
	if r.done.Findings != r.sent {
		r.t.Errorf("%d findings were announced, %d came", r.done.Findings, r.sent)
	}
	out := r.result
	out.Status = map[pluginv1.Completed_Status]string{
		pluginv1.Completed_STATUS_SUCCEEDED: Succeeded, pluginv1.Completed_STATUS_PARTIAL: Partial, pluginv1.Completed_STATUS_FAILED: Failed,
		pluginv1.Completed_STATUS_CANCELLED: Canceled, pluginv1.Completed_STATUS_NOT_APPLICABLE: NotApplicable,
	}[r.done.Status]
	out.Reason, out.Retryable, out.Files, out.Bytes = r.done.Reason, r.done.Retryable, r.done.FilesScanned, r.done.BytesScanned
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.At.Path, b.At.Path), cmp.Compare(a.At.URL, b.At.URL), cmp.Compare(a.At.StartLine, b.At.StartLine),
			cmp.Compare(a.At.StartColumn, b.At.StartColumn), cmp.Compare(a.Rule, b.Rule))
	})
	return out
}
