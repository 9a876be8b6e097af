package executor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// runInto runs one task of a plugin in that mode.
func runInto(t *testing.T, mode string, change func(*executor.Plugin)) (host.Report, *sink) {
	t.Helper()
	b, s := newBench(t, mode, plugin(change)), &sink{}
	rep, err := b.Run(t.Context(), b.task(t, ""), s)
	if err != nil {
		t.Fatal(err)
	}
	return rep, s
}

// TestLeftOut has findings that cannot be kept among others: these are kept, and
// the result does not look whole.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]struct {
		paths []string
		words []string
	}{
		"mixed": {[]string{"a", "d"}, []string{
			`left out 2 findings of rules that the plugin does not declare (the first: "not.declared")`,
			"left out 2 findings at places outside the target (the first: hostile.rule",
		}},
		"noisy": {append(slices.Repeat([]string{"noise"}, 10), "signal"), []string{
			"left out 20 findings after the first 10 of one rule (the first: hostile.rule)",
		}},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			rep, s := runInto(t, mode, func(p *executor.Plugin) { p.MaxFindingsRule = 10 })
			var paths []string
			for _, f := range s.all() {
				paths = append(paths, f.Location.Path)
			}
			if diff := cmp.Diff(want.paths, paths); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			for _, w := range want.words {
				if !strings.Contains(rep.Reason, w) {
					t.Errorf("reason %q does not say %q", rep.Reason, w)
				}
			}
			if rep.State != host.StatePartial {
				t.Errorf("state %s, want partial", rep.State)
			}
		})
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	rep, s := runInto(t, "artifacts", func(*executor.Plugin) {})
	var got []string
	for _, a := range s.artifacts {
		got = append(got, strings.Join([]string{a.Plugin, a.Name, a.MediaType, string(a.Blob)}, " "))
	}
	want := []string{"hostile a.json application/json {}", "hostile b.txt text/plain bb"}
	if diff := cmp.Diff(want, got); diff != "" || rep != (host.Report{State: host.StateSucceeded}) {
		t.Errorf("report %+v, artifacts (-want +got):\n%s", rep, diff)
	}
}

// TestBadArtifacts has one artifact that is not as it must be before one that
// is: that one is kept, and what is left out has a reason.
func TestBadArtifacts(t *testing.T) {
	t.Parallel()
	const (
		words  = "artifacts that are not as the contract says"
		unread = "artifacts that cannot be read"
	)
	for how, want := range map[string]string{
		"missing":          unread,
		"absolute":         words,
		"above":            words,
		"symlink":          unread,
		"inner-symlink":    unread,
		"linked-directory": unread,
		"magic-link":       unread,
		"hard-link":        "a second name",
		"fifo":             "not a regular file",
		"directory":        "not a regular file",
		"name":             `its name "../bad" is no file name`,
		"media-type":       "its media type",
		"wrong-sum":        "not what they were said to be",
		"no-sum":           "its sha256 is not 64",
		"large":            "artifacts over 4096 bytes together",
		"sparse":           "artifacts over 4096 bytes together",
		"twins":            "its name is that of another artifact",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			rep, s := runInto(t, "artifact-"+how, func(p *executor.Plugin) { p.MaxArtifactsBytes = 4096 })
			if rep.State != host.StatePartial || !strings.Contains(rep.Reason, want) || strings.ContainsAny(rep.Reason, "\x1b\n") {
				t.Errorf("report %+v, want partial because of %q", rep, want)
			}
			if !slices.ContainsFunc(s.artifacts, func(a host.Artifact) bool { return a.Name == "good.json" && a.Blob == "{}" }) {
				t.Errorf("artifacts kept: %+v", s.artifacts)
			}
			for _, a := range s.artifacts {
				if strings.Contains(string(a.Blob), "root:") {
					t.Errorf("a file of the host was kept: %+v", a)
				}
			}
		})
	}
}

func TestTooManyArtifacts(t *testing.T) {
	t.Parallel()
	rep, s := runInto(t, "artifacts", func(p *executor.Plugin) { p.MaxArtifacts = 1 })
	if rep.State != host.StatePartial || !strings.Contains(rep.Reason, "left out 1 artifacts after the first 1 (the first: b.txt)") || len(s.artifacts) != 1 {
		t.Errorf("report %+v, artifacts %+v; want the first only", rep, s.artifacts)
	}
}

// TestArtifactNotKept has a host that cannot keep an artifact, which is not the
// plugin's fault.
func TestArtifactNotKept(t *testing.T) {
	t.Parallel()
	b, s := newBench(t, "artifacts"), &sink{err: errors.New("the disk is full")}
	_, err := b.Run(t.Context(), b.task(t, ""), s)
	f := wantFault(t, err, host.CodeInternal, true, "could not be kept")
	if !errors.Is(f.Err, s.err) {
		t.Errorf("the fault's cause is %v", f.Err)
	}
}
