package conformance_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host/executor/conformance"
)

const repository = "../../.."

// TestGoodPlugins: what is good passes everything, and each check says
// something of at least one of them.
func TestGoodPlugins(t *testing.T) {
	t.Parallel()
	sample := t.TempDir()
	if err := os.WriteFile(filepath.Join(sample, "aws.ini"), []byte("key = AKIA"+"Q3EGRIZ7WT5KHJMN\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	passed := sync.Map{}
	t.Run("all", func(t *testing.T) {
		for name, p := range map[string]struct{ dir, pkg string }{
			"the example": {repository, "./examples/plugins/awskeys"},
			"secrets":     {repository + "/plugins/secrets", "."},
			"no SDK":      {".", "./internal/wrong"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				o := small()
				o.Sample = sample
				rep, err := conformance.Run(t.Context(), conformance.Plugin{Command: binary(t, p.dir, p.pkg)}, o)
				if err != nil {
					t.Fatal(err)
				}
				if !rep.OK() || rep.Name == "" || rep.Version == "" || len(rep.Results) != len(conformance.Checks()) {
					t.Errorf("%q %q: %d results", rep.Name, rep.Version, len(rep.Results))
				}
				for _, r := range rep.Results {
					switch r.Status {
					case conformance.Fail, conformance.Warn:
						t.Errorf("%s: %s", r.ID, r.Saw)
					case conformance.Pass:
						passed.Store(r.ID, true)
					}
				}
			})
		}
	})
	for _, c := range conformance.Checks() {
		if _, ok := passed.Load(c.ID); !ok {
			t.Errorf("no good plugin passes %s: it may be that nothing can", c.ID)
		}
	}
}

// wrongs are the ways in which the plugin internal/wrong is wrong. Each is
// found by the check that its name begins with, and by no other: of those of
// the groups around it, or of all with -full.
func wrongs() []string {
	return strings.Fields(`
		start.cookie/silent start.cookie/zero start.cookie/panic
		start.handshake/exit
		describe.answer/error describe.answer/crash
		describe.stable/call describe.stable/process
		describe.identity/name describe.identity/version describe.identity/api
		describe.inputs/none describe.inputs/twice
		describe.rules/twice describe.rules/title describe.rules/help describe.rules/many
		describe.schema/default describe.schema/json describe.schema/name describe.schema/pattern describe.schema/twice
		configure.defaults configure.unknown-attribute/accepts configure.unknown-attribute/error
		configure.wrong-type configure.required configure.range configure.one-of configure.pattern
		configure.not-an-object/accepts configure.not-an-object/crash
		configure.validate-only/keeps configure.validate-only/refuses configure.twice/forgets
		health.first/state
		tree.sample tree.empty tree.huge-file tree.huge-file/crash tree.long-line tree.binary tree.many-files tree.odd-names
		tree.deep tree.links tree.unreadable tree.special-files
		url.page url.unreachable
		scan.unknown-option/accepts scan.unknown-option/code scan.wrong-option scan.host scan.deterministic scan.concurrent
		events.completed/none events.completed/reason events.completed/status events.completed/unspecified events.completed/cancelled
		events.completed/not-applicable events.completed/twice events.completed/after events.completed/error
		events.count events.size events.utf8
		findings.rule findings.path/absolute findings.path/dots findings.path/dot findings.path/missing findings.path/none
		findings.lines/beyond findings.lines/backwards findings.lines/column findings.lines/zero
		findings.values/severity findings.values/confidence findings.values/url
		findings.limits/message findings.limits/snippet findings.limits/control findings.limits/property
		findings.redacted/message findings.redacted/identity findings.redacted/log
		artifacts.valid/name artifacts.valid/type artifacts.valid/path artifacts.valid/missing artifacts.valid/hash
		artifacts.valid/hex artifacts.valid/link artifacts.valid/twice
		files.target-unchanged/cache files.target-unchanged/touch files.target-unchanged/remove
		files.outside/work files.outside/link
		output.stdout output.stderr/number output.stderr/bytes
		cancel.unknown/known cancel.unknown/error cancel.running/ignores cancel.running/status cancel.running/unimplemented
		cancel.drain/takes cancel.drain/left
		resources.processes resources.files stop.children`)
}

// hasty are wrong in time. Their limits are so short that a good plugin could
// miss others on a slow machine, so only the one check is done.
func hasty() map[string]func(*conformance.Options) {
	scan := func(o *conformance.Options) { o.ScanTimeout = 500 * time.Millisecond }
	grace := func(o *conformance.Options) { o.Grace = 300 * time.Millisecond }
	stop := func(o *conformance.Options) { o.StopTimeout = 300 * time.Millisecond }
	return map[string]func(*conformance.Options){
		"start.handshake/tcp":              nil,
		"start.handshake/banner":           nil,
		"describe.answer/hang":             func(o *conformance.Options) { o.DescribeTimeout = 200 * time.Millisecond },
		"configure.unknown-attribute/path": nil, // no setting has a path
		"health.first/late":                grace,
		"health.first/once":                grace,
		"tree.special-files/hangs":         scan,
		"events.silence":                   func(o *conformance.Options) { o.MaxSilence = 100 * time.Millisecond },
		"cancel.running/hangs":             scan,
		"cancel.deadline":                  grace,
		"cancel.context":                   grace,
		"cancel.paused":                    func(o *conformance.Options) { o.Pause = time.Second },
		"resources.memory":                 func(o *conformance.Options) { o.Memory = 64 << 20 },
		"stop.shutdown":                    stop,
		"stop.sigterm":                     stop,
		"stop.host-death":                  stop,
	}
}

// around leaves the checks that a plugin that is wrong in this way might fail.
func around(o conformance.Options, mode string) conformance.Options {
	group, _, _ := strings.Cut(mode, ".")
	id, _, _ := strings.Cut(mode, "/")
	switch group {
	case "start", "describe", "configure", "health":
		o.Only = []string{"start", "describe", "configure", "health"}
		return conformance.WithTrees(o, "empty")
	case "tree", "url":
		o.Only = []string{id, "tree.sample", "tree.empty", "url"}
		return o
	case "cancel", "resources", "stop":
		o.Only = []string{"cancel", "resources", "stop"}
		return conformance.WithTrees(o, "sample")
	case "files", "output":
		o.Only = []string{"files", "output"}
		return conformance.WithTrees(o, "sample", "links")
	case "scan":
		o.Only = []string{"scan", "findings"}
		return conformance.WithTrees(o, "sample")
	default:
		o.Only = []string{"events", "findings", "artifacts"}
		return conformance.WithTrees(o, "sample")
	}
}

// TestWrongPlugins is the test of the kit itself: it finds what is wrong.
func TestWrongPlugins(t *testing.T) {
	t.Parallel()
	plugin := binary(t, ".", "./internal/wrong")
	// They mostly wait, so there are more at once than t.Parallel would run.
	slots := make(chan struct{}, 6)
	var all sync.WaitGroup
	defer all.Wait()
	test := func(mode string, o conformance.Options) {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			rep, err := conformance.Run(t.Context(), conformance.Plugin{Command: plugin, Args: []string{mode}}, o)
			if err != nil {
				t.Errorf("%s: %v", mode, err)
				return
			}
			want, _, _ := strings.Cut(mode, "/")
			found := false
			for _, r := range rep.Results {
				switch bad := r.Status == conformance.Fail || r.Status == conformance.Warn; {
				case bad && r.ID == want:
					found = true
					if r.Saw == "" || r.Fix == "" {
						t.Errorf("%s: a result that says nothing: %+v", mode, r)
					}
				case bad:
					t.Errorf("%s: %s fails: %s", mode, r.ID, r.Saw)
				}
			}
			if !found {
				t.Errorf("%s was not found", mode)
			}
		})
	}
	for _, mode := range wrongs() {
		o := small()
		if !*full {
			o = around(o, mode)
		}
		test(mode, o)
	}
	for mode, change := range hasty() {
		o := small()
		id, _, _ := strings.Cut(mode, "/")
		o.Only = []string{id}
		if change != nil {
			change(&o)
		}
		test(mode, o)
	}
}

// TestEveryCheckFindsSomething: there is a wrong plugin for each check.
func TestEveryCheckFindsSomething(t *testing.T) {
	t.Parallel()
	modes := wrongs()
	for mode := range hasty() {
		modes = append(modes, mode)
	}
	for _, c := range conformance.Checks() {
		if !slices.ContainsFunc(modes, func(m string) bool { return m == c.ID || strings.HasPrefix(m, c.ID+"/") }) {
			t.Errorf("nothing shows that %s finds what it looks for", c.ID)
		}
	}
}

// TestChecks: ids are well-formed and unique, and everything is said.
func TestChecks(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`^[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, c := range conformance.Checks() {
		if !id.MatchString(c.ID) || seen[c.ID] || c.Title == "" || c.Fix == "" || c.Rule == "" || c.Level == "" {
			t.Errorf("check %+v", c)
		}
		seen[c.ID] = true
		if _, err := os.Stat(filepath.Join(repository, file(c))); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	got, err := conformance.Select([]string{"health", "tree.empty"})
	var ids []string
	for _, c := range got {
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{"health.first", "tree.empty"}, ids); err != nil || diff != "" {
		t.Errorf("Select: %v\n%s", err, diff)
	}
	if _, err := conformance.Select([]string{"tree.fancy"}); err == nil || !strings.Contains(err.Error(), "tree.fancy") {
		t.Errorf("Select of what is not there: %v", err)
	}
}
