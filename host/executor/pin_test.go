package executor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/catalog"
)

// pinned makes the bench's plugin the file at command, pinned as it is now.
func pinned(t *testing.T, command string) func(*executor.Config) {
	t.Helper()
	sum, err := catalog.Sum(catalog.Source{Command: command})
	if err != nil {
		t.Fatal(err)
	}
	return plugin(func(p *executor.Plugin) { p.Command, p.SHA256, p.Dev = command, sum, false })
}

// script writes an executable that logs each of its starts and then is the
// hostile plugin. It gives the paths of both.
func script(t *testing.T) (command, starts string) {
	t.Helper()
	dir := t.TempDir()
	command, starts = filepath.Join(dir, "plugin"), filepath.Join(dir, "starts")
	replace(t, command, fmt.Sprintf("#!/bin/sh\necho start >>%s\nexec %s \"$@\"\n", starts, hostile()))
	return command, starts
}

// replace puts a new file in the place of path, as an installation does.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o700), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// TestPinnedProgramIsWhatRuns: the bytes that were hashed, also when the file
// is another by now, and whether it is a binary or a script.
func TestPinnedProgramIsWhatRuns(t *testing.T) {
	t.Parallel()
	for name, contain := range map[string]func(*executor.Config){"namespace": func(*executor.Config) {}, "group": noNamespace} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, starts := script(t)
			b := newBench(t, "ok", contain, pinned(t, command), standby(1))
			eventually(t, "a process waits", func() bool { return b.status().Standby == 1 })
			replace(t, command, "#!/bin/sh\nexit 1\n")
			for range 2 {
				if rep, _, err := b.run(t); err != nil || rep.State != host.StateSucceeded {
					t.Errorf("Run: %+v, %v", rep, err)
				}
			}
			if log, err := os.ReadFile(starts); err != nil || strings.Count(string(log), "start") < 2 {
				t.Errorf("the script was started %q, %v; want twice or more", log, err)
			}
		})
	}
}

// TestAnotherProgramIsRefused: it never runs, its jobs say why, nobody else
// suffers, and the right file is taken up by itself.
func TestAnotherProgramIsRefused(t *testing.T) {
	t.Parallel()
	command, starts := script(t)
	good, err := os.ReadFile(command)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "ok", pinned(t, command), standby(1), func(c *executor.Config) {
		other := c.Plugins[0]
		other.Name, other.Command, other.SHA256, other.Dev = "other", "/nonexistent", "", true
		c.Plugins = append(c.Plugins, other)
		replace(t, command, "#!/bin/sh\ntouch "+filepath.Join(filepath.Dir(command), "evil")+"\n")
	})
	eventually(t, "it is quarantined", func() bool { return b.status().State == executor.StateQuarantined })
	_, _, err = b.run(t)
	f := wantFault(t, err, host.CodePluginUnavailable, true, command, "is pinned", "securetag plugin pin")
	var pin *catalog.PinError
	if !errors.As(&f, &pin) {
		t.Errorf("the fault %v holds no pin error", f.Err)
	}
	if s := b.status(); !strings.Contains(s.Reason, "is pinned") || !s.Retry.IsZero() || s.Starts != 0 {
		t.Errorf("status %+v", s)
	}
	for _, file := range []string{starts, filepath.Join(filepath.Dir(command), "evil")} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s is there: a program that is not pinned has run", file)
		}
	}
	replace(t, command, string(good))
	eventually(t, "the right file is ready", func() bool { return b.status().State == executor.StateReady })
}

// TestFilesOfAnInterpreter: each process works in a copy of what is pinned.
func TestFilesOfAnInterpreter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"lib/a", "lib/b", "doc/c"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	files := func(p *executor.Plugin) { p.Dir, p.Files = dir, []string{"lib/*"} }
	dev := newBench(t, "files", plugin(files))
	if _, found, err := dev.run(t); err != nil || len(found) != 1 || found[0].Message != "doc/c lib/a lib/b" {
		t.Errorf("in development it works where its files are: got %+v, %v", found, err)
	}
	sum, err := catalog.Sum(catalog.Source{Dir: dir, Files: []string{"lib/*"}})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "files", plugin(files), plugin(func(p *executor.Plugin) { p.SHA256, p.Dev = sum, false }))
	if _, found, err := b.run(t); err != nil || len(found) != 1 || found[0].Message != "lib/a lib/b" {
		t.Errorf("it works in a copy of the pinned files: got %+v, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib/b"), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = b.run(t)
	wantFault(t, err, host.CodePluginUnavailable, true, dir, "is pinned")
}

// TestSettingsAreCheckedBeforeAStart: once the host knows what the plugin
// takes, a mistake is reported with its place and nothing is started.
func TestSettingsAreCheckedBeforeAStart(t *testing.T) {
	t.Parallel()
	command, starts := script(t)
	memory := t.TempDir()
	const token = "the same arguments"
	settings := func(text string) func(*executor.Config) {
		return func(c *executor.Config) {
			c.DescribeDir = memory
			p := &c.Plugins[0]
			p.Args[1], p.Config, p.Places = token, json.RawMessage(text), map[string]string{"limit": "securetag.hcl:7"}
		}
	}
	count := func() int {
		log, _ := os.ReadFile(starts)
		return strings.Count(string(log), "start")
	}
	bad := prepare(t, "ok", pinned(t, command), settings(`{"limit": 4, "lmit": 1}`))
	want := []string{"does not accept its configuration", "lmit is no setting of this plugin. It takes limit.", "securetag.hcl:7: limit must be at most 3"}
	_, err := bad.Describe(t.Context(), "hostile")
	wantFault(t, err, host.CodePluginUnavailable, true, want...)
	if count() != 1 {
		t.Errorf("%d starts, want the one that tells the host what it takes", count())
	}
	good := prepare(t, "ok", pinned(t, command), settings(`{"limit": 3}`))
	if info, err := good.Describe(t.Context(), "hostile"); err != nil || len(info.Settings) != 1 || info.Settings[0].Name != "limit" {
		t.Errorf("Describe: %+v, %v", info, err)
	}
	before := count()
	again := prepare(t, "ok", pinned(t, command), settings(`{"limit": 4, "lmit": 1}`))
	_, err = again.Describe(t.Context(), "hostile")
	wantFault(t, err, host.CodePluginUnavailable, true, want...)
	if s := again.status(); count() != before || s.State != executor.StateQuarantined {
		t.Errorf("%d starts more, state %s; want none, quarantined", count()-before, s.State)
	}
}

func TestVersionConstraint(t *testing.T) {
	t.Parallel()
	for constraint, ok := range map[string]bool{"~> 1.2": true, ">= 1.2.3, < 2": true, "~> 1.3": false, "1.2.4": false} {
		b := prepare(t, "ok", plugin(func(p *executor.Plugin) { p.Version = constraint }))
		_, err := b.Describe(t.Context(), "hostile")
		if ok {
			if err != nil {
				t.Errorf("%s: %v", constraint, err)
			}
			continue
		}
		wantFault(t, err, host.CodePluginUnavailable, true, "has the version 1.2.3, and", constraint)
	}
}

// TestQuarantine: a plugin that keeps failing is left alone, and taken up again
// when it is another.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	command, starts := script(t)
	good, err := os.ReadFile(command)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, command, fmt.Sprintf("#!/bin/sh\necho start >>%s\necho no licence >&2\nexit 3\n", starts))
	b := newBench(t, "ok", standby(1), plugin(func(p *executor.Plugin) {
		p.Command, p.Restart = command, executor.Restart{FirstDelay: time.Millisecond, MaxFailures: 2, Window: time.Hour}
	}))
	eventually(t, "it is quarantined", func() bool { return b.status().State == executor.StateQuarantined })
	for range 3 {
		_, _, err := b.run(t)
		wantFault(t, err, host.CodePluginUnavailable, true, "is quarantined after 2 failures within 1h0m0s: exited with status 3 before the handshake: no licence")
	}
	log, err := os.ReadFile(starts)
	if s := b.status(); err != nil || strings.Count(string(log), "start") != 2 || s.Failed != 2 || s.Retry.IsZero() {
		t.Errorf("starts %q, %v, status %+v; want two and no more", log, err, s)
	}
	replace(t, command, string(good))
	eventually(t, "the new file is ready", func() bool { return b.status().State == executor.StateReady })
	if _, _, err := b.run(t); err != nil {
		t.Error(err)
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	const window = 10 * time.Minute
	now := time.Now()
	at := func(d time.Duration) time.Time { return now.Add(d) }
	b := executor.NewBreaker(executor.Restart{MaxFailures: 3, Window: window})
	if b.Fail(at(0)) || b.Fail(at(time.Minute)) || b.Fail(at(window+time.Second)) {
		t.Error("open before three failures within the window")
	}
	if !b.Fail(at(window + 2*time.Second)) {
		t.Error("not open after three failures within the window")
	}
	reason := errors.New("reason")
	opened := window + 2*time.Second
	b.Open(reason, at(opened+window))
	if err := b.Blocks(at(opened + window - 1)); !errors.Is(err, reason) {
		t.Errorf("within the window: %v", err)
	}
	if err := b.Blocks(at(opened + window)); err != nil {
		t.Errorf("when it is over one may start: %v", err)
	}
	if err := b.Blocks(at(opened + window + 1)); !errors.Is(err, reason) {
		t.Errorf("and no second one: %v", err)
	}
	if !b.Fail(at(opened + window + 2)) {
		t.Error("the one that failed leaves it open")
	}
	b.Lift()
	if err := b.Blocks(at(opened + window + 3)); err != nil || b.Fail(at(opened+window+4)) {
		t.Errorf("lifted: %v, and one failure opens it", err)
	}
	b.Open(reason, time.Time{})
	if err := b.Blocks(at(1000 * window)); !errors.Is(err, reason) {
		t.Errorf("without an end it ends: %v", err)
	}
}
