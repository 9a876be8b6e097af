package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// process is a running half of a system. What it prints goes to a file.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when it has ended, as err says
	err    error
}

// start runs argv until it prints ready. It dies with this process.
func start(ctx context.Context, argv, env []string, log, ready string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("keep a log: %w", err)
	}
	defer out.Close()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), log: log, exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = procAttr()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	err = poll(ctx, startTimeout, pollEvery/10, func() (bool, error) {
		select {
		case <-p.exited:
			return false, errors.Join(errors.New("it ended"), p.err)
		default:
		}
		b, err := os.ReadFile(log)
		return bytes.Contains(b, []byte(ready)), err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w; its log ends:\n%s", argv[0], err, tail(log)), p.stop())
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends it in order, and by force when that takes too long. No process is
// fine.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.exited:
		return nil // how does not matter: the numbers are taken
	case <-time.After(stopTimeout):
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.exited
	return fmt.Errorf("%s did not stop within %v; its log ends:\n%s", p.cmd.Path, stopTimeout, tail(p.log))
}

func tail(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b[max(0, len(b)-2000):]
}
