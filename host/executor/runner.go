package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
)

// markerKey is the environment variable by which processes of a plugin are
// found again, with a random value for each.
const markerKey = "SECURETAG_PROCESS"

// drainTime is how long the pipes of a dead plugin are read on, in case
// something outside our reach holds them open.
const drainTime = 200 * time.Millisecond

// procRunner is one plugin process as go-plugin sees it. go-plugin never reads
// a byte the plugin wrote: standard error is read here (copyLog), and standard
// output gives it one line that this host wrote itself.
type procRunner struct {
	launcher *launcher
	path     string   // of the executable
	exe      *os.File // what is executed in its stead, unless it is nil
	cwd      string   // where it starts
	args     []string
	env      []string
	dir      string // the socket's
	workDir  string // its HOME and TMPDIR
	marker   string
	log      hclog.Logger
	taps     Taps          // what else hears the output
	jail     *sandbox.Jail // nil: not confined
	way      *proxy.Exit   // nil: it has no way out by a proxy
	limits   sandbox.Limits

	cmd     *exec.Cmd // these two are set by Start
	contain containment

	outR, outW, errR, errW *os.File
	lineR                  *io.PipeReader // what go-plugin reads as standard output
	lineW                  *io.PipeWriter
	said                   tail

	done chan struct{} // closed when the process is reaped and its output read

	mu      sync.Mutex
	started bool
	killed  bool
	reaped  bool
	spent   string   // the limit that it ran into, "" for none that is known
	refusal error    // why the handshake was refused
	socket  *os.File // the socket go-plugin dials; see closeSocket
	waitErr error    // of cmd.Wait; read after done
}

var _ runner.Runner = (*procRunner)(nil)

// Start starts the process. A second call is an error.
func (r *procRunner) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.killed {
		return errors.New("started twice, or after it was killed")
	}
	var err error
	if r.outR, r.outW, err = os.Pipe(); err != nil {
		return err
	}
	if r.errR, r.errW, err = os.Pipe(); err != nil {
		r.outR.Close()
		r.outW.Close()
		return err
	}
	if r.jail != nil {
		err = r.enter()
	} else {
		r.cmd, r.contain, err = r.launcher.launch(r.command)
	}
	r.closeExe()
	r.outW.Close()
	r.errW.Close()
	if err != nil {
		r.outR.Close()
		r.errR.Close()
		return err
	}
	r.started = true
	r.lineR, r.lineW = io.Pipe()
	go r.supervise()
	return nil
}

// command builds the process anew for each try to start it. Its output goes to
// files and not to writers: os/exec then starts no goroutine of its own, and
// Wait waits for the process and not for whoever holds its pipes. Stdin nil is
// /dev/null.
func (r *procRunner) command() *exec.Cmd {
	cmd := &exec.Cmd{
		Path: r.path, Args: append([]string{r.path}, r.args...), Env: r.env, Dir: r.cwd,
		Stdout: r.outW, Stderr: r.errW,
	}
	if r.exe != nil {
		// It stays open there, because the interpreter of a script opens it anew.
		cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{r.exe}
	}
	return cmd
}

// closeExe may be called twice.
func (r *procRunner) closeExe() {
	if r.exe != nil {
		r.exe.Close()
	}
}

// supervise owns the process from its start to the end of its output.
func (r *procRunner) supervise() {
	var readers sync.WaitGroup
	readers.Go(func() { copyLog(r.taps.stderr(r.errR), &r.said, r.log) })
	readers.Go(r.copyOut)

	r.reap()
	r.launcher.release()
	r.settle()
	_ = r.lineR.Close() // nobody need wait for a line any more

	until := time.Now().Add(drainTime)
	_ = r.outR.SetReadDeadline(until)
	_ = r.errR.SetReadDeadline(until)
	readers.Wait()
	r.outR.Close()
	r.errR.Close()
	close(r.done)
}

// copyOut checks the handshake, hands go-plugin one line and drops the rest.
func (r *procRunner) copyOut() {
	addr, err := readHandshake(r.outR, r.dir)
	switch {
	case err == nil:
		// PluginToHost puts the real address in.
		_, _ = fmt.Fprintf(r.lineW, "1|1|unix|%s|grpc\n", addr)
	case errors.Is(err, errNoHandshake):
		// It is ending, or will run into the start timeout: both say more.
	default:
		r.mu.Lock()
		r.refusal = err
		r.mu.Unlock()
		_ = r.lineW.Close()
	}
	_, _ = io.Copy(r.taps.stdout(), r.outR)
}

// PluginToHost is asked for the address of the handshake before it is dialled.
func (r *procRunner) PluginToHost(network, addr string) (string, string, error) {
	if network != "unix" {
		return "", "", fmt.Errorf("refused to dial a %s address", network)
	}
	f, path, err := openSocket(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && (r.reaped || r.socket != nil) {
		f.Close()
		err = errors.New("the process is gone")
	}
	if err != nil {
		r.refusal = err
		return "", "", err
	}
	r.socket = f
	return "unix", path, nil
}

// closeSocket may be called once nothing dials any more: before, the number of
// the file could come to mean another plugin's socket.
func (r *procRunner) closeSocket() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.socket != nil {
		r.socket.Close()
	}
}

// hasStarted reports whether there is, or was, a process.
func (r *procRunner) hasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// HostToPlugin is for brokered connections, which there are none of.
func (r *procRunner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// Wait waits until the process is reaped and its output has been read.
func (r *procRunner) Wait(context.Context) error {
	<-r.done
	return r.waitErr
}

// Kill is kill for go-plugin.
func (r *procRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

// kill kills the process and everything it started. It does not wait. A process
// that has not started yet never will.
func (r *procRunner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if r.started && !r.reaped {
		r.contain.killAll(r.cmd.Process.Pid, r.marker)
	}
}

// Stdout is the one line. go-plugin calls it after Start only.
func (r *procRunner) Stdout() io.ReadCloser { return r.lineR }

// Stderr is empty: see copyLog.
func (r *procRunner) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

func (r *procRunner) Name() string                    { return r.path }
func (r *procRunner) Diagnose(context.Context) string { return r.said.String() }

// ID is the pid, "" before the start.
func (r *procRunner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started {
		return ""
	}
	return strconv.Itoa(r.cmd.Process.Pid)
}

// refusedFor is why the handshake was refused, nil when it was not.
func (r *procRunner) refusedFor() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal
}

// exit says how the process ended and its last words: "exited with status 2
// before the handshake: panic: boom". It may be called after done only.
func (r *procRunner) exit(when string) string {
	how := r.ended(when)
	if said := r.said.String(); said != "" {
		how += ": " + said
	}
	return clean.Line(how, maxFaultLine)
}

// ended says how the process ended, without its last words.
func (r *procRunner) ended(when string) string {
	if r.cmd == nil {
		return "was attached to, and its connection ended " + when
	}
	state := r.cmd.ProcessState
	how := "ended in an unknown way"
	if state != nil {
		how = fmt.Sprintf("exited with status %d", state.ExitCode())
		if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			how = fmt.Sprintf("was killed by signal %d (%s)", ws.Signal(), ws.Signal())
			if ws.Signal() == syscall.SIGKILL && r.jail == nil {
				how += ", possibly out of memory,"
			}
		}
	}
	if spent := r.exhausted(); spent != "" {
		how = "ran " + spent + ": it " + how
	}
	return how + " " + when
}

// eof is an empty reader.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
