package executor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// TestStates: one host with a plugin in each state says of each which one it is,
// and why; none of them keeps the others from their state or from jobs.
func TestStates(t *testing.T) {
	t.Parallel()
	want := map[executor.PluginState]struct {
		mode   string
		reason string
		change func(*executor.Plugin)
	}{
		executor.StateReady:    {mode: "ok", change: func(*executor.Plugin) {}},
		executor.StateStarting: {mode: "silent-start", change: func(p *executor.Plugin) { p.StartTimeout = time.Hour }},
		executor.StateDegraded: {mode: "degraded", reason: "the rules are[31m old", change: func(*executor.Plugin) {}},
		executor.StateBackoff: {mode: "exit-at-start", reason: "exited with status 3 before the handshake: no licence", change: func(p *executor.Plugin) {
			p.Restart = executor.Restart{FirstDelay: time.Hour, MaxFailures: 100}
		}},
		executor.StateQuarantined: {mode: "ok", reason: "is quarantined after 1 failure within 10m0s: could not be started: fork/exec /nonexistent/plugin: no such file", change: func(p *executor.Plugin) {
			p.Command, p.Restart = "/nonexistent/plugin", executor.Restart{MaxFailures: 1}
		}},
		executor.StateUnknown: {mode: "ok", change: func(p *executor.Plugin) { p.Standby = 0 }},
	}
	b := newBench(t, "ok", func(c *executor.Config) {
		template := c.Plugins[0]
		c.Plugins = nil
		for state, w := range want {
			p := template
			p.Name, p.Standby = string(state), 1
			p.Args = []string{w.mode, p.Args[1], p.Name}
			w.change(&p)
			c.Plugins = append(c.Plugins, p)
		}
	})
	eventually(t, "each is in its state", func() bool {
		for _, s := range b.Status() {
			if string(s.State) != s.Name || s.State == executor.StateReady && s.Standby != 1 {
				return false
			}
		}
		return true
	})
	for _, s := range b.Status() {
		if w := want[s.State]; w.reason == "" && s.Reason != "" || !strings.Contains(s.Reason, w.reason) {
			t.Errorf("%s: reason %q, want %q", s.State, s.Reason, w.reason)
		}
		if s.Since.IsZero() {
			t.Errorf("%s: since when is not said", s.State)
		}
	}
	for _, state := range []executor.PluginState{executor.StateReady, executor.StateDegraded, executor.StateUnknown} {
		task := b.task(t, "")
		task.Plugin = string(state)
		if rep, err := b.Run(t.Context(), task, &sink{}); err != nil || rep.State != host.StateSucceeded {
			t.Errorf("a job of the one that is %s: %+v, %v", state, rep, err)
		}
	}
	for _, state := range []executor.PluginState{executor.StateBackoff, executor.StateQuarantined} {
		task := b.task(t, "")
		task.Plugin = string(state)
		if _, err := b.Run(t.Context(), task, &sink{}); err == nil || !strings.Contains(err.Error(), want[state].reason) {
			t.Errorf("a job of the one in %s: %v, want its reason", state, err)
		}
	}
}
