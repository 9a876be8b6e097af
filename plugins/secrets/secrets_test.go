package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/logging"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/sdktest"
)

func TestMain(m *testing.M) {
	logging.Logger = zerolog.Nop() // as main does
	goleak.VerifyTestMain(m)
}

// recorder stands in for the host's stream and keeps what would be on the wire.
type recorder struct {
	grpc.ServerStream
	ctx context.Context

	mu       sync.Mutex
	wire     bytes.Buffer
	findings []*pluginv1.Finding
	notes    []*pluginv1.Diagnostic
	done     *pluginv1.Completed
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Send(ev *pluginv1.ScanEvent) error {
	b, err := proto.Marshal(ev)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.wire.Write(b)
	r.findings = append(r.findings, ev.GetFindings().GetFindings()...)
	if d := ev.GetDiagnostic(); d != nil {
		r.notes = append(r.notes, d)
	}
	r.done = ev.GetCompleted()
	r.mu.Unlock()
	return nil
}

// server is shared: compiling the rules is most of a test's time, and it shows
// that scans may run side by side.
var server = sync.OnceValues(func() (*sdk.Server, error) {
	e, err := newEngine()
	if err != nil {
		return nil, err
	}
	s := e.scanner()
	s.MaxConcurrentScans = 100
	return sdk.NewServer(s, hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Trace}))
})

// logged is what the plugin logs in all tests.
var logged syncBuffer

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func scanTree(t testing.TB, root string) *recorder {
	t.Helper()
	return scanWith(t, &pluginv1.ScanRequest{Target: &pluginv1.Target{Kind: &pluginv1.Target_Root{Root: root}}})
}

func scanWith(t testing.TB, req *pluginv1.ScanRequest) *recorder {
	t.Helper()
	srv, err := server()
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := srv.Configure(t.Context(), &pluginv1.ConfigureRequest{}); err != nil || len(resp.Diagnostics) > 0 {
		t.Fatal(err, resp)
	}
	r := &recorder{ctx: t.Context()}
	req.RunId = t.Name()
	if err := srv.Scan(req, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func places(r *recorder) []string {
	var out []string
	for _, f := range r.findings {
		out = append(out, at(f.Location.Path, int(f.Location.StartLine), int(f.Location.StartColumn), f.RuleId))
	}
	slices.Sort(out)
	return out
}

func TestSample(t *testing.T) {
	t.Parallel()
	root, clear := sample(t)
	r := scanTree(t, root)
	golden(t, "testdata/sample.golden", r)
	for _, s := range clear {
		if bytes.Contains(r.wire.Bytes(), []byte(s)) {
			t.Errorf("in clear on the wire: %.20q...", s)
		}
		if strings.Contains(logged.String(), s) {
			t.Errorf("in clear in the log: %.20q...", s)
		}
	}
	if r.done.GetStatus() != pluginv1.Completed_STATUS_SUCCEEDED || r.done.Findings != uint64(len(r.findings)) {
		t.Errorf("completed %v", r.done)
	}
}

// golden compares what people will read; SECRETS_GOLDEN=write writes it.
func golden(t *testing.T, path string, r *recorder) {
	t.Helper()
	var lines []string
	for _, f := range r.findings {
		l := f.Location
		lines = append(lines, fmt.Sprintf("%s:%d:%d-%d:%d %s %v\n\t%s\n", l.Path, l.StartLine, l.StartColumn, l.EndLine, l.EndColumn, f.RuleId, f.Properties, f.Snippet))
	}
	slices.Sort(lines)
	for _, n := range r.notes {
		lines = append(lines, "note: "+n.Summary+"\n")
	}
	got := strings.Join(lines, "")
	if os.Getenv("SECRETS_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// found is a finding in gitleaks' own report.
type found struct {
	RuleID, File, Match, Secret string
	StartLine                   int
	Tags                        []string
}

// buildGitleaks builds the real gitleaks from the module that we use.
func buildGitleaks(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "gitleaks")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/zricethezav/gitleaks/v8")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gitleaks: %v\n%s", err, out)
	}
	return bin
}

// oracle runs gitleaks with the flags that say what the plugin says: no allow
// comments, the default rules.
func oracle(t testing.TB, bin, root string) []found {
	t.Helper()
	dir := t.TempDir()
	rules, report := filepath.Join(dir, "rules.toml"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(rules, []byte(config.DefaultConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), bin, "dir", ".", "--no-banner", "--ignore-gitleaks-allow",
		"-c", rules, "-i", dir, "-f", "json", "-r", report, "--exit-code", "0")
	run.Dir = root
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("run gitleaks: %v\n%s", err, out)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var all []found
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// The same findings as gitleaks itself, none missing and none more, on the
// sample and on real projects: what gitleaks tests with, full of secrets, what
// gRPC for Go tests with, and yamux.
func TestSameAsGitleaks(t *testing.T) {
	t.Parallel()
	bin := buildGitleaks(t)
	root, _ := sample(t)
	golang := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	const module = "{{.Dir}}"
	engine := golang("list", "-m", "-f", module, "github.com/zricethezav/gitleaks/v8")
	project := filepath.Join(t.TempDir(), "project")
	// Its root has an ignore file, which no flag turns off.
	if err := os.CopyFS(filepath.Join(project, "testdata"), os.DirFS(filepath.Join(engine, "testdata"))); err != nil {
		t.Fatal(err)
	}
	for name, root := range map[string]string{
		"sample": root, "gitleaks": project,
		"grpc":  filepath.Join(golang("list", "-m", "-f", module, "google.golang.org/grpc"), "testdata"),
		"yamux": golang("list", "-m", "-f", module, "github.com/hashicorp/yamux"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := scanTree(t, root)
			var want, got []string
			seen := make(map[string]bool)
			theirs := oracle(t, bin, root)
			for _, f := range theirs {
				place := at(f.File, f.StartLine, 0, f.RuleID)
				if f.StartLine == 0 && seen[place] {
					continue // by path: gitleaks repeats it for each 100 kB of the file
				}
				seen[place] = true
				want = append(want, place)
				if len(f.Match) > 12 && len(f.Secret) > 12 && bytes.Contains(r.wire.Bytes(), []byte(f.Secret)) {
					t.Errorf("%s: in clear on the wire", place)
				}
			}
			for _, f := range r.findings {
				got = append(got, at(f.Location.Path, int(f.Location.StartLine), 0, f.RuleId))
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("%d findings, gitleaks has %d (-gitleaks +ours):\n%s", len(got), len(want), diff)
			}
			columns(t, root, theirs, r)
		})
	}
}

// columns: the text at each place is what gitleaks says it matched.
func columns(t *testing.T, root string, want []found, r *recorder) {
	t.Helper()
	texts := make(map[string]map[string]bool)
	for _, f := range want {
		if len(f.Tags) == 0 { // not decoded
			key := at(f.File, f.StartLine, 0, f.RuleID)
			if texts[key] == nil {
				texts[key] = make(map[string]bool)
			}
			texts[key][strings.TrimLeft(f.Match, "\n")] = true
		}
	}
	checked := 0
	for _, f := range r.findings {
		l := f.Location
		key := at(l.Path, int(l.StartLine), 0, f.RuleId)
		if l.StartLine == 0 || texts[key] == nil || f.Properties["decoded"] != "" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(l.Path)))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(raw), "\n")
		from := len(strings.Join(lines[:l.StartLine-1], "")) + int(l.StartColumn) - 1
		to := len(strings.Join(lines[:l.EndLine-1], "")) + int(l.EndColumn) - 1
		if from > to || to > len(raw) || !texts[key][string(raw[from:to])] {
			t.Errorf("%s: columns %d to %d:%d are not what gitleaks matched", key, l.StartColumn, l.EndLine, l.EndColumn)
		}
		checked++
	}
	if checked == 0 {
		t.Error("no columns to check")
	}
}

// What the target brings along hides nothing.
func TestTargetCannotHide(t *testing.T) {
	t.Parallel()
	secret := fakes()["github"]
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.py":            "t = '" + secret + "' # gitleaks" + ":allow\n",
		".gitleaksignore": "a.py:github-pat:1\n",
		".gitleaks.toml":  "[allowlist]\npaths = ['''.*''']\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{at("a.py", 1, 6, "github-pat")}, places(scanTree(t, root))); diff != "" {
		t.Error(diff)
	}
}

// Where the host puts the tree must not matter to the rules' path patterns.
func TestRootDoesNotMatter(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "node_modules", "x.docx", "vendor", "ruby")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a.py"), []byte("t = '"+fakes()["github"]+"'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := places(scanTree(t, root)); len(got) != 1 {
		t.Errorf("findings %v", got)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	for i := range 400 {
		files[fmt.Sprintf("%04d.js", i)] = strings.Repeat("password = api_key + token; // secret aws github slack\n", 500)
	}
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	r := sdktest.Run(t, e.scanner(), sdktest.Request{Files: files, CancelAt: func(ev *pluginv1.ScanEvent) bool { return ev.GetProgress() != nil }})
	// Not overdue: it ended by itself, within the grace.
	if r.Status != sdktest.Canceled || r.Reason != "cancelled: the test" || r.Files == 400 {
		t.Errorf("%s: %s, %d files", r.Status, r.Reason, r.Files)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	root, _ := sample(t)
	r := sdktest.Run(t, e.scanner(), sdktest.Request{Root: root, Config: `{"max_file_size": "1KiB", "workers": 1}`})
	var skipped []string
	for _, n := range r.Notes {
		if path, _, ok := strings.Cut(n, ": larger than 1KiB"); ok {
			skipped = append(skipped, path)
		}
	}
	slices.Sort(skipped)
	if diff := cmp.Diff([]string{"long.js", "only.js", "store/cert.p12", "wide.js"}, skipped); diff != "" {
		t.Error(diff)
	}
}

func TestRulesAreDeclared(t *testing.T) {
	t.Parallel()
	srv, err := server()
	if err != nil {
		t.Fatal(err)
	}
	d, err := srv.Describe(t.Context(), &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	critical := 0
	for _, r := range d.Rules {
		if r.Title == "" || r.Description == "" || r.Recommendation == "" || len(r.Cwe) == 0 || r.Severity < pluginv1.Severity_SEVERITY_HIGH {
			t.Errorf("rule %v", r)
		}
		if r.Severity == pluginv1.Severity_SEVERITY_CRITICAL {
			critical++
		}
	}
	if len(d.Rules) < 200 || critical != 11 {
		t.Errorf("%d rules, %d of them critical: a name in severity() may have changed", len(d.Rules), critical)
	}
	if d.Requirements.Network != pluginv1.Requirements_NETWORK_NONE || d.Requirements.SpawnsProcesses {
		t.Errorf("requirements %v", d.Requirements)
	}
}

// Whatever the text, nothing hidden may show, and the places stay in the text.
// The corpus is made here and not kept in files, for the reason at fakes.
func FuzzPage(f *testing.F) {
	fake := fakes()
	f.Add("a\nkey = '" + fake["github"] + "'\n" + fake["github"])
	f.Add("\n\n" + fake["key"])
	f.Add("x " + base64Of("token "+fake["github"]+" "+fake["aws"]) + "\n")
	f.Add(fake["teams"] + " " + fake["slack"] + fake["stripe"])
	e, err := newEngine()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkPage(t, e, text)
	})
}
