package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keeper runs a server and outlives its owner just long enough to stop it.
// Arguments: the signal that stops the server, the directory to remove, the
// server's command line. Descriptor 3 tells the owner the server's pid and,
// because the server inherits it, by its end that all of the server is gone.
const keeper = `
signal=$1; dir=$2; shift 2
"$@" </dev/null &
echo $! >&3
exec 3>&-
read -r word
kill -"$signal" $! 2>/dev/null
kill -CONT $! 2>/dev/null
wait $!
[ "$word" = keep ] || rm -rf "$dir"
`

const (
	startTimeout = 60 * time.Second // initdb and a first start on a busy machine
	stopTimeout  = 20 * time.Second
	pollEvery    = 10 * time.Millisecond
)

// process is one run of a server under its keeper.
type process struct {
	cmd   *exec.Cmd
	pid   int      // of the server itself
	rein  *os.File // the owner's end of the keeper's standard input
	alive *os.File // at its end when no process of the server is left
	end   sync.Once
	err   error
}

// spec is how to run a server.
type spec struct {
	dir    string // removed when the owner dies
	signal string // asks the server to stop, for kill(1)
	argv   []string
	log    string // file that gets what it prints
	cred   *syscall.Credential
}

func startProcess(s spec) (*process, error) {
	logFile, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer logFile.Close()
	in, rein, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer in.Close()
	alive, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), rein.Close())
	}
	defer out.Close()

	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "keeper", s.signal, s.dir}, s.argv...)...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, in, logFile, logFile
	cmd.ExtraFiles = []*os.File{out}
	// LC_ALL: messages and sort order do not depend on the developer's shell.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	// Its own group: Ctrl-C on the terminal must not stop it before the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.cred}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.argv[0], err), rein.Close(), alive.Close())
	}
	p := &process{cmd: cmd, rein: rein, alive: alive}
	if err := p.readPID(); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *process) readPID() error {
	if err := p.alive.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	line, err := bufio.NewReaderSize(p.alive, 16).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the server's pid from its keeper: %w", err)
	}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("read the server's pid from its keeper: %w", err)
	}
	return nil
}

// gone reports whether every process of the server has ended by the deadline.
func (p *process) gone(deadline time.Time) bool {
	if p.alive.SetReadDeadline(deadline) != nil {
		return true // closed: it was stopped before
	}
	_, err := p.alive.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// waitReady polls until the server answers or has ended.
func (p *process) waitReady(ctx context.Context, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := answers(attempt)
		done()
		switch {
		case err == nil:
			return nil
		case p.gone(time.Now().Add(pollEvery)):
			return errors.New("the server ended before it answered")
		case ctx.Err() != nil:
			return fmt.Errorf("the server did not answer within %v: %w", startTimeout, err)
		}
	}
}

func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(p.pid, s); err != nil {
		return fmt.Errorf("signal %v to server %d: %w", s, p.pid, err)
	}
	return nil
}

// stop asks the server to end and returns when it has; the data stays.
func (p *process) stop() error {
	p.end.Do(func() {
		_, werr := io.WriteString(p.rein, "keep\n")
		p.err = errors.Join(werr, p.rein.Close(), p.reap())
	})
	return p.err
}

// kill ends the server as a crash would.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.stop()
}

func (p *process) reap() error {
	defer p.alive.Close()
	if !p.gone(time.Now().Add(stopTimeout)) {
		// The group, not the pid: the keeper may be stuck as well.
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
		return fmt.Errorf("server %d did not stop within %v and was killed", p.pid, stopTimeout)
	}
	var exit *exec.ExitError // the keeper's own status says nothing
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("wait for the keeper of server %d: %w", p.pid, err)
	}
	return nil
}
