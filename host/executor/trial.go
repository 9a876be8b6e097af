package executor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// MkdirTemp makes a temporary directory in which "run" can be a Config's RunDir:
// below the usual place or, where that is too deep for a socket's path, below
// /tmp.
func MkdirTemp(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil || len(dir)+len("/run") <= maxRunDir {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", prefix)
}

// Trial is one plugin process in the hands of somebody who tests or tries the
// plugin: launched as for a job, and nothing more. Package conformance speaks
// the contract with it itself; Ready and Run do with it what the host does.
type Trial struct {
	p    *process
	host *Executor
}

// Taps hear what a plugin writes, beside what is always done with it. Each is
// written to from one goroutine of its own, until Done is closed. A nil one
// hears nothing.
type Taps struct {
	// Stdout gets what comes after the first 4 KiB, or after the handshake when
	// the plugin writes it at once.
	Stdout io.Writer
	Stderr io.Writer // everything
}

func (t Taps) stdout() io.Writer {
	if t.Stdout == nil {
		return io.Discard
	}
	return t.Stdout
}

func (t Taps) stderr(r io.Reader) io.Reader {
	if t.Stderr == nil {
		return r
	}
	return io.TeeReader(r, t.Stderr)
}

// Try starts a process of a configured plugin, up to its handshake. Its name
// need not be what the plugin calls itself. Serve need not be running. The
// error is a *host.Fault, and then nothing of the process is left. ctx is for
// starting only; whoever tries a plugin stops the process.
func (e *Executor) Try(ctx context.Context, name string, taps Taps) (*Trial, error) {
	k := e.keeper(name)
	if k == nil {
		f := newFault(name, host.CodePluginUnavailable, false, "is not configured on this host")
		f.Err = host.ErrNoPlugin
		return nil, f
	}
	program, err := e.tools().open(k.plugin.source())
	if err != nil {
		f := newFault(name, host.CodePluginUnavailable, true, "could not be started: %v", err)
		f.Err = err
		return nil, f
	}
	defer func() { _ = program.Close() }() // what runs by then is not touched by it
	p, err := e.open(ctx, k.plugin, program, "")
	if err != nil {
		return nil, err
	}
	p.runner.taps = taps
	if err := p.connect(ctx); err != nil {
		p.stop(false)
		return nil, err
	}
	return &Trial{p: p, host: e}, nil
}

// Scanner speaks with the process. No call on it has a deadline of its own.
func (t *Trial) Scanner() pluginv1.ScannerClient { return t.p.scanner }

// PID is the process's, as the host counts.
func (t *Trial) PID() int {
	pid, _ := strconv.Atoi(t.p.runner.ID()) // it has started
	return pid
}

// Dir is the directory that is made for the process and removed with it: the
// socket is in it, and in tmp its HOME and TMPDIR.
func (t *Trial) Dir() string { return t.p.dir }

// Done is closed when the process has ended and its output has been read.
func (t *Trial) Done() <-chan struct{} { return t.p.runner.done }

// Exit says how the process ended and its last words, once Done is closed.
func (t *Trial) Exit() string { return t.p.runner.exit("unasked") }

// Stop ends the process and all it started, within a few seconds whatever the
// plugin does; graceful asks it first.
func (t *Trial) Stop(graceful bool) { t.p.stop(graceful) }

// Configure says which settings Ready hands over, instead of those configured.
func (t *Trial) Configure(settings []byte) { t.p.plugin.Config = settings }

// Ready does what the host does before a job: Describe, under the name that
// the plugin gives itself, and Configure.
func (t *Trial) Ready(ctx context.Context) (Info, error) {
	call, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	d, err := t.p.scanner.Describe(call, &pluginv1.DescribeRequest{HostVersion: t.host.cfg.HostVersion})
	if err != nil {
		return Info{}, t.p.callFault(err, "Describe", describeTimeout)
	}
	if _, err := CheckDescription(d); err != nil {
		return Info{}, t.p.fault(host.CodePluginUnavailable, true, "describes itself wrongly: %v", err)
	}
	t.p.plugin.Name = d.GetName()
	if err := t.p.describe(ctx, t.host.cfg.HostVersion); err != nil {
		return Info{}, err
	}
	return t.p.info, t.p.configure(ctx)
}

// Run runs a task on a process that is Ready, as the host does.
func (t *Trial) Run(ctx context.Context, task host.Task, sink host.Sink) (host.Report, error) {
	s := &scan{p: t.p, task: task, sink: sink, id: fmt.Sprintf("%s/%d", task.Job, t.host.runs.Add(1)), log: t.host.log, key: t.host.cfg.identityKey(task)}
	return s.run(ctx)
}

// CheckDescription is the host's own check of what a plugin says of itself.
func CheckDescription(d *pluginv1.DescribeResponse) (Info, error) {
	info, _, err := newInfo(d)
	return info, err
}
