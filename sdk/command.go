package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	defaultMaxOutput = 32 * MiB
	maxStderr        = 64 << 10 // of the end, for errors
	commandGrace     = 2 * time.Second
	// passedOn is what a command sees of the plugin's environment: where to find
	// programs, the mark by which a host finds every process of a plugin, and what
	// programs in Go can have of the machine.
	passedOn = "PATH SECURETAG_PROCESS GOMEMLIMIT GOGC GOMAXPROCS"
	// throughHost is passed on where the host confines the plugin to its proxy, and
	// has set the first: there is no other way out.
	throughHost = "SECURETAG_EGRESS_SOCKET HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy"
)

// Command is a program that a scanner runs. It sees nothing of the target but
// what Args name, and nothing of the plugin: HOME and TMPDIR are empty
// directories, the working directory is Target.WorkDir, and the environment is
// PATH, what the host lets programs in Go have (GOMEMLIMIT, GOGC, GOMAXPROCS) and what
// Env adds; where the host has the plugin go out by its proxy, the variables that name
// that as well. Declare Needs.SpawnsProcesses.
type Command struct {
	Args []string // the program and its arguments; the program by path or in PATH
	Env  []string // "NAME=value"
	// Stdout takes standard output; nil: it is kept in Ran.Stdout.
	Stdout io.Writer
	// MaxOutput is how much standard output may be; more ends the program and is
	// an error. 0: 32 MiB.
	MaxOutput Bytes
	// Timeout ends the program, with an error; 0: only ctx does.
	Timeout time.Duration
	// ExitCodes are those that are no error; nil: only 0. Linters often exit
	// with 1 when they found something.
	ExitCodes []int
}

// Ran is how a command ended.
type Ran struct {
	Stdout   []byte
	Stderr   string // the last 64 KiB
	ExitCode int
}

// Run runs c and waits for it, and kills what it left behind: its process group
// ends with it, with ctx and with the plugin. The error says how it ended, with
// the last line of its standard error, and is not nil when the exit code is
// none of ExitCodes. Ran has what there is in any case.
func (t *Target) Run(ctx context.Context, c Command) (Ran, error) {
	if len(c.Args) == 0 {
		return Ran{}, errors.New("run a command: it has no name")
	}
	ran, err := t.run(ctx, c)
	if err != nil {
		return ran, fmt.Errorf("run %s: %w", filepath.Base(c.Args[0]), err)
	}
	return ran, nil
}

func (t *Target) run(parent context.Context, c Command) (Ran, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if c.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("it took longer than %s and was killed", c.Timeout))
		defer stop()
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	home, err := os.MkdirTemp(t.workDir, "home-*")
	if err != nil {
		return Ran{}, err
	}
	defer func() { _ = os.RemoveAll(home) }() // else it goes with the work directory
	if cmd.Env, err = environment(home, c.Env); err != nil {
		return Ran{}, err
	}
	cmd.Dir = t.workDir
	if cmd.Dir == "" {
		cmd.Dir = home
	}
	if c.MaxOutput <= 0 {
		c.MaxOutput = defaultMaxOutput
	}
	var kept bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &kept
	}
	said := &tail{}
	cmd.Stdout = &bounded{w: c.Stdout, left: int64(c.MaxOutput), over: func() {
		cancel(fmt.Errorf("it printed more than %s and was killed", c.MaxOutput))
	}}
	cmd.Stderr = said
	cmd.WaitDelay = commandGrace // for what left the group and holds the pipes
	err = runInGroup(cmd)
	ran := Ran{Stdout: kept.Bytes(), Stderr: said.String(), ExitCode: -1}
	if cmd.ProcessState != nil {
		ran.ExitCode = cmd.ProcessState.ExitCode()
	}
	return ran, verdict(ctx, c, ran, err)
}

// verdict is the error of a command that ended so.
func verdict(ctx context.Context, c Command, ran Ran, err error) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and left something
	case errors.As(err, &exit):
	case err != nil:
		return err // not started, or its output could not be taken
	}
	accepted := c.ExitCodes
	if accepted == nil {
		accepted = []int{0}
	}
	if slices.Contains(accepted, ran.ExitCode) {
		return nil
	}
	how := fmt.Sprintf("exit status %d", ran.ExitCode)
	if ran.ExitCode < 0 && exit != nil {
		how = exit.Error() // "signal: killed"
	}
	if line := lastLine(ran.Stderr); line != "" {
		how += ": " + line
	}
	return errors.New(how)
}

// environment is all that a command gets.
func environment(home string, more []string) ([]string, error) {
	tmp := filepath.Join(home, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	env := []string{"HOME=" + home, "TMPDIR=" + tmp, "LANG=C.UTF-8"}
	names := strings.Fields(passedOn)
	if way := strings.Fields(throughHost); os.Getenv(way[0]) != "" {
		names = append(names, way...)
	}
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, more...), nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return oneLine(lines[len(lines)-1], maxTitle)
}

// bounded passes on so much and no more.
type bounded struct {
	w    io.Writer
	left int64
	over func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		b.left = 0
		b.over()
		return 0, errors.New("too much output")
	}
	b.left -= int64(len(p))
	return b.w.Write(p)
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-maxStderr):]...)
	if over := len(t.b) - maxStderr; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.b), "\uFFFD") }
