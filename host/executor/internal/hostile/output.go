package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// finding is one that is in order.
func finding(rule, path string) *pluginv1.Finding {
	return &pluginv1.Finding{RuleId: rule, Message: "found it", Snippet: path, Location: &pluginv1.Location{Path: path, StartLine: 1}}
}

// output is what a scan sends in a mode that is about findings and artifacts; nil:
// the mode is about something else.
func output(mode, work string) []*pluginv1.ScanEvent {
	switch mode {
	case "mixed":
		return batch(finding(declared, "a"), finding("not.declared", "b"), finding(declared, "../../etc/passwd"),
			finding(declared, "/etc/passwd"), finding("also.not", "c"), finding(declared, "d"))
	case "noisy":
		var all []*pluginv1.Finding
		for range 30 {
			all = append(all, finding(declared, "noise"))
		}
		return batch(append(all, finding(second, "signal"))...)
	case "artifacts":
		return artifacts(work, &pluginv1.Artifact{Name: "a.json", MediaType: "application/json", Path: "a.json"},
			&pluginv1.Artifact{Name: "b.txt", MediaType: "text/plain", Path: "sub/b", Sha256: sumOfB})
	}
	if how, is := strings.CutPrefix(mode, "artifact-"); is {
		good := &pluginv1.Artifact{Name: "good.json", MediaType: "application/json", Path: "a.json"}
		return artifacts(work, append(badArtifacts(how, work), good)...)
	}
	return nil
}

// sumOfB is the SHA-256 of "bb".
const sumOfB = "3b64db95cb55c763391c707108489ae18b4112d783300de38e033b4c98c3deaf"

func batch(all ...*pluginv1.Finding) []*pluginv1.ScanEvent {
	return []*pluginv1.ScanEvent{event(&pluginv1.Findings{Findings: all})}
}

func artifacts(work string, all ...*pluginv1.Artifact) (events []*pluginv1.ScanEvent) {
	write(filepath.Join(work, "a.json"), "{}")
	_ = os.Mkdir(filepath.Join(work, "sub"), 0o700)
	write(filepath.Join(work, "sub", "b"), "bb")
	for _, a := range all {
		events = append(events, event(a))
	}
	return events
}

func write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// badArtifacts are artifacts that the host must leave out.
func badArtifacts(how, work string) []*pluginv1.Artifact {
	a := &pluginv1.Artifact{Name: "bad.json", MediaType: "application/json", Path: "bad"}
	bad := filepath.Join(work, "bad")
	switch how {
	case "missing":
	case "absolute":
		a.Path = "/etc/passwd"
	case "above":
		a.Path = "../../../../../../../../etc/passwd"
	case "symlink":
		_ = os.Symlink("/etc/passwd", bad)
	case "inner-symlink":
		_ = os.Symlink("a.json", bad)
	case "linked-directory":
		_ = os.Symlink("/etc", bad)
		a.Path = "bad/passwd"
	case "magic-link":
		_ = os.Symlink("/proc/self/exe", bad)
	case "hard-link":
		write(filepath.Join(work, "first"), "x")
		_ = os.Link(filepath.Join(work, "first"), bad)
	case "fifo":
		_ = syscall.Mkfifo(bad, 0o600)
	case "directory":
		_ = os.Mkdir(bad, 0o700)
	case "name":
		write(bad, "x")
		a.Name = "../bad\x1b"
	case "media-type":
		write(bad, "x")
		a.MediaType = "text/html; charset=utf-8"
	case "wrong-sum":
		write(bad, "x")
		a.Sha256 = sumOfB
	case "no-sum":
		write(bad, "x")
		a.Sha256 = "abc"
	case "large":
		write(bad, strings.Repeat("x", 5000))
	case "sparse":
		write(bad, "")
		_ = os.Truncate(bad, 1<<40)
	case "twins":
		write(bad, "x")
		return []*pluginv1.Artifact{{Name: "good.json", MediaType: "application/json", Path: "a.json"}, a, a}
	}
	return []*pluginv1.Artifact{a}
}
