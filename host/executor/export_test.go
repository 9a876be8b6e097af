package executor

import (
	"context"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// Inner parsers of outside input, and what go-plugin dials with, for their tests.
var (
	ReadHandshake = readHandshake
	CopyLog       = copyLog
	ParseLog      = parseLog
	DialOptions   = dialOptions
)

// Tail is the end of a plugin's standard error.
type Tail = tail

// Breaker is what quarantines a plugin.
type Breaker struct{ b breaker }

func NewBreaker(r Restart) *Breaker { return &Breaker{breaker{limits: r}} }

func (b *Breaker) Blocks(now time.Time) error { return b.b.blocks(now) }
func (b *Breaker) Fail(now time.Time) bool    { return b.b.fail(now) }
func (b *Breaker) Lift()                      { b.b.lift() }

// Open is what a keeper does after Fail said so.
func (b *Breaker) Open(err error, until time.Time) { b.b.open, b.b.until = err, until }

// Start starts a process of a plugin, tells how long that took to the answer of
// Describe, and stops it.
func (e *Executor) Start(ctx context.Context, name string) (time.Duration, error) {
	began := time.Now()
	k := e.keeper(name)
	program, err := k.prepare()
	if err != nil {
		return 0, err
	}
	proc, err := e.open(ctx, k.plugin, program, "")
	if err != nil {
		return 0, err
	}
	defer proc.stop(false)
	if err := proc.connect(ctx); err != nil {
		return 0, err
	}
	err = proc.describe(ctx, "")
	return time.Since(began), err
}

// Launcher is what starts processes.
type Launcher struct{ l *launcher }

func NewLauncher() Launcher { return Launcher{&launcher{log: hclog.NewNullLogger()}} }

func (l Launcher) Start(cmd *exec.Cmd) error { return l.l.start(cmd) }
func (l Launcher) Release()                  { l.l.release() }

// WatchHealth watches a shared process that is nothing but api until ended is
// closed, and gives what Status says of its plugin.
func WatchHealth(ctx context.Context, p Plugin, api pluginv1.ScannerClient, ended chan struct{}, log hclog.Logger) func() PluginStatus {
	p.Name, p.Isolation = "hostile", Shared
	k := newKeeper(p, log, tools{})
	k.shared, k.ready = &process{plugin: p, scanner: api, runner: &procRunner{done: ended}}, true
	go k.watch(ctx, k.shared)
	return k.status
}

// OptionsOf is what a plugin that is so described gets as the options of a task.
func OptionsOf(i Info, t host.Task) string { return string(i.options(t)) }

// IdentityKey is the key of a task's identities at a host with this one.
func IdentityKey(key []byte, t host.Task) []byte { return Config{IdentityKey: key}.identityKey(t) }
