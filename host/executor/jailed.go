package executor

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// enter starts the process in its jail; r.mu is held.
func (r *procRunner) enter() error {
	r.jail.SetEnv(lastOfEach(r.env))
	cmd, err := r.jail.Command(r.exe, r.outW, r.errW)
	if err != nil {
		return err
	}
	if err := r.launcher.start(cmd); err != nil {
		return err
	}
	if err := r.jail.Enter(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.launcher.release()
		return err
	}
	if r.way != nil {
		r.way.Serve(r.jail.Listener())
	}
	r.cmd, r.contain = cmd, held(r.jail.HasPIDNamespace())
	return nil
}

// lastOfEach drops variables that are named again: what counts is the last, and
// programs that read the environment themselves may take the first.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if i, again := at[name]; again {
			kept[i] = kv
			continue
		}
		at[name] = len(kept)
		kept = append(kept, kv)
	}
	return kept
}

// killFor kills the process because it ran out of something.
func (r *procRunner) killFor(spent string) {
	r.mu.Lock()
	if r.spent == "" && !r.reaped {
		r.spent = spent
	}
	r.mu.Unlock()
	r.kill()
}

// settle asks what the process ran into, and leaves the jail.
func (r *procRunner) settle() {
	if r.jail == nil {
		return
	}
	spent := r.jail.Exhausted()
	r.mu.Lock()
	if r.spent == "" {
		r.spent = spent
	}
	r.mu.Unlock()
	r.jail.Close()
}

// exhausted is the limit that the process ran into, "" for none that is known.
// It may be called after done only.
func (r *procRunner) exhausted() string {
	r.mu.Lock()
	spent := r.spent
	r.mu.Unlock()
	if spent != "" || r.jail == nil {
		return spent
	}
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGXFSZ {
		return r.outOf("file size")
	}
	if what := r.said.complained(); what != "" {
		return r.outOf(what)
	}
	return ""
}

func (r *procRunner) outOf(what string) string {
	l := r.limits
	limit := map[string]string{
		"memory": fmt.Sprintf("%d MiB", l.Memory>>20), "file size": fmt.Sprintf("%d MiB", l.FileSize>>20),
		"open files": fmt.Sprint(l.OpenFiles), "processes": fmt.Sprint(l.PIDs),
	}[what]
	return fmt.Sprintf("out of %s: limit %s", what, limit)
}

// containment is how the process is kept, for people.
func (r *procRunner) containment() string {
	if r.jail != nil {
		return "sandbox"
	}
	return string(r.contain)
}

// containment is what the next process of a plugin gets, and what it ought to get
// and does not.
func (e *Executor) containment(p Plugin) string {
	if p.Sandbox == Unconfined {
		return string(e.launcher.containment()) + e.networkOf(p)
	}
	s := e.cfg.Sandbox.Support()
	text := "sandbox: " + s.String()
	if open := s.Open(); len(open) > 0 {
		text += "; does not hold: " + strings.Join(open, ", ")
	}
	return text + e.networkOf(p)
}

// missing says which layers of the sandbox a plugin does without on this machine,
// a line each.
func (e *Executor) missing(p Plugin) []string {
	if p.Sandbox == Unconfined {
		return nil
	}
	var lines []string
	why := e.cfg.Sandbox.Support().Missing
	for _, l := range sandbox.Layers() {
		if why[l] != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", l, why[l]))
		}
	}
	return lines
}

// tellSandbox logs what this machine gives, once.
func (e *Executor) tellSandbox() {
	if e.cfg.Sandbox == nil {
		e.tellEgress()
		return
	}
	s := e.cfg.Sandbox.Support()
	if err := s.Complete(); err != nil {
		e.log.Warn("plugins cannot be confined as they should be", "layers", s.String(), "error", err)
		e.tellEgress()
		return
	}
	e.log.Info("plugins are confined", "layers", s.String())
	e.tellEgress()
	for layer, why := range s.Missing {
		e.log.Debug("a layer of the sandbox is missing", "layer", string(layer), "why", why)
	}
}
