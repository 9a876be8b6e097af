package executor

import (
	"os/exec"
	"runtime"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// launcher starts processes from one locked thread that lives as long as any
// of them: the kernel sends a parent-death signal when the thread that forked
// ends, not when the host does.
type launcher struct {
	log hclog.Logger

	mu      sync.Mutex
	alive   int // processes started and not yet released
	work    chan func()
	choices []containment // what this machine gives, best first
}

// launch starts what command builds, in the best containment there is. A
// weaker one is remembered once it worked where a better one was refused.
func (l *launcher) launch(command func() *exec.Cmd) (*exec.Cmd, containment, error) {
	l.mu.Lock()
	choices := l.choices
	l.mu.Unlock()
	var first error
	for i, c := range choices {
		cmd := command()
		cmd.SysProcAttr = c.attributes()
		err := l.start(cmd)
		if err == nil {
			if i > 0 {
				l.settle(choices[i:], first)
			}
			return cmd, c, nil
		}
		if first == nil {
			first = err
		}
		if !refused(err) {
			return nil, "", err
		}
	}
	return nil, "", first
}

func (l *launcher) settle(on []containment, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(on) < len(l.choices) {
		l.choices = on
		l.log.Warn("plugin processes get a weaker containment than this host would give", "containment", string(on[0]), "error", why)
	}
}

// containment is what the next process gets, as far as is known.
func (l *launcher) containment() containment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.choices[0]
}

// start runs cmd.Start on the thread. Each success must be released.
func (l *launcher) start(cmd *exec.Cmd) error {
	l.mu.Lock()
	if l.alive++; l.alive == 1 {
		l.work = make(chan func())
		go serve(l.work)
	}
	work := l.work
	l.mu.Unlock()

	result := make(chan error, 1)
	work <- func() { result <- cmd.Start() }
	err := <-result
	if err != nil {
		l.release()
	}
	return err
}

// release says that a started process has been reaped. With the last one the
// thread goes.
func (l *launcher) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alive--; l.alive == 0 {
		close(l.work)
	}
}

// serve ends when work is closed; its thread, never unlocked, ends with it.
func serve(work <-chan func()) {
	runtime.LockOSThread()
	for f := range work {
		f()
	}
}
