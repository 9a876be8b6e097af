package executor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/catalog"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/host/internal/rmtree"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

const (
	stopGrace  = time.Second     // from go-plugin's Shutdown to the kill
	reapTime   = 5 * time.Second // from SIGKILL until we stop waiting for the kernel
	shutdownIn = time.Second     // for the Shutdown call itself
)

// process is one running plugin, described and configured. Whoever launched it
// or took it from a keeper stops it or gives it back.
type process struct {
	plugin  Plugin
	log     hclog.Logger
	dir     string // its own directory, removed by stop
	runner  *procRunner
	cell    *cell // nil: not confined
	client  *plugin.Client
	scanner pluginv1.ScannerClient
	said    *pluginv1.DescribeResponse
	info    Info
	rules   map[string]clean.Rule
	born    time.Time
	conn    *grpc.ClientConn // of an attached process, which has no client; else nil

	stopOnce sync.Once
	ending   atomic.Bool // stop was called

	users   int    // runs on it now; guarded by its keeper
	retired bool   // takes no new runs; guarded by its keeper
	health  health // guarded by its keeper

	tenant    host.TenantID // PerTenant: whose it is; set before it is given out
	idleSince time.Time     // PerTenant; guarded by its keeper
}

// launch starts a process and makes it ready to scan. The error is a
// *host.Fault, and then nothing of the process is left. ctx is for starting
// only, the process outlives it.
func (e *Executor) launch(ctx context.Context, p Plugin, program *catalog.Program, tree string) (*process, error) {
	proc, err := e.open(ctx, p, program, tree)
	if err != nil {
		return nil, err
	}
	if proc.conn == nil {
		err = proc.connect(ctx)
	}
	if err == nil {
		err = proc.describe(ctx, e.cfg.HostVersion)
	}
	if err == nil {
		err = proc.configure(ctx)
	}
	if err != nil {
		proc.stop(false)
		return nil, err
	}
	return proc, nil
}

// open makes what starts nothing, or attaches: then there is no program.
func (e *Executor) open(ctx context.Context, p Plugin, program *catalog.Program, tree string) (*process, error) {
	if p.Attach != nil {
		return e.attach(ctx, p)
	}
	proc, err := e.newProcess(p)
	if err == nil {
		err = proc.place(program)
	}
	if err == nil {
		err = e.confine(proc, tree)
	}
	if err == nil {
		return proc, nil
	}
	if proc != nil {
		proc.stop(false)
	}
	f := newFault(p.Name, host.CodePluginUnavailable, true, "could not be started: %v", err)
	f.Err = err
	return nil, f
}

// newProcess makes the directory and everything else that starts nothing.
func (e *Executor) newProcess(p Plugin) (*process, error) {
	dir, err := e.makeDir()
	if err != nil {
		return nil, err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	proc := &process{plugin: p, dir: dir, born: time.Now(), log: e.log.With("plugin", p.Name)}
	proc.runner = &procRunner{
		launcher: e.launcher, args: p.Args,
		dir: dir, workDir: filepath.Join(dir, "tmp"), marker: hex.EncodeToString(id[:]),
		log: proc.log.Named("stderr"), done: make(chan struct{}),
	}
	proc.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		Plugins:          wire.Plugins(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     p.StartTimeout + time.Hour, // connect's own is the one that counts
		Logger:           hclog.NewNullLogger(),      // what matters is in our faults
		GRPCDialOptions:  dialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			proc.runner.env = proc.environment(spec.Env)
			return proc.runner, nil
		},
	})
	return proc, nil
}

// place puts what is executed where the process finds it.
func (p *process) place(program *catalog.Program) (err error) {
	r := p.runner
	if r.exe, r.path, err = program.Executable(); err != nil {
		return err
	}
	if r.cwd, err = program.Place(p.dir); r.cwd == "" {
		r.cwd = r.workDir
	}
	return err
}

// makeDir makes the directory of one process: the socket is made right in it,
// to keep its path short, and tmp is its HOME and TMPDIR.
func (e *Executor) makeDir() (string, error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	dir := filepath.Join(e.cfg.RunDir, fmt.Sprintf("p%s-%x", e.token, id))
	if err := os.MkdirAll(e.cfg.RunDir, 0o700); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
}

// environment is the whole environment of the process. What is named later
// wins: the handshake over the operator's variables.
func (p *process) environment(handshake []string) []string {
	env := []string{"HOME=" + p.runner.workDir, "TMPDIR=" + p.runner.workDir}
	for k, v := range p.plugin.Env {
		env = append(env, k+"="+v)
	}
	slices.Sort(env[2:])
	env = p.cell.wayOut(p.cell.hint(env))
	env = append(env, handshake...)
	return append(env, plugin.EnvUnixSocketDir+"="+p.dir, markerKey+"="+p.runner.marker)
}

// dialOptions bound what the plugin can make the host's gRPC do.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxHostRecv), grpc.MaxCallSendMsgSize(wire.MaxPluginRecv)),
		grpc.WithMaxHeaderListSize(64 << 10),
		grpc.WithInitialWindowSize(256 << 10), // fixed: the window must not grow at the plugin's pace
		grpc.WithInitialConnWindowSize(1 << 20),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
		grpc.WithChainUnaryInterceptor(boundShutdown),
		grpc.WithChainStreamInterceptor(refuseBroker),
	}
}

// boundShutdown gives go-plugin's Shutdown call the deadline it lacks.
func boundShutdown(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == "/plugin.GRPCController/Shutdown" {
		bounded, cancel := context.WithTimeout(ctx, shutdownIn)
		defer cancel()
		ctx = bounded
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// refuseBroker keeps go-plugin's broker from listening: the contract has no
// call-backs, and each id the plugin announces would cost a goroutine.
func refuseBroker(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if method == "/plugin.GRPCBroker/StartStream" {
		return nil, status.Error(codes.Unimplemented, "this host has no broker")
	}
	return stream(ctx, desc, cc, method, opts...)
}

// connect starts the process and speaks the handshake with it.
func (p *process) connect(caller context.Context) error {
	ctx, cancel := context.WithTimeout(caller, p.plugin.StartTimeout)
	defer cancel()
	type answer struct {
		scanner any
		err     error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the process at the latest, which our caller then stops
		var a answer
		var protocol plugin.ClientProtocol
		if protocol, a.err = p.client.Client(); a.err == nil {
			a.scanner, a.err = protocol.Dispense(wire.PluginName)
		}
		answered <- a
	}()

	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		if caller.Err() != nil {
			return p.fault(host.CodePluginUnavailable, true, "was not waited for: %v", context.Cause(caller))
		}
		return p.startFault(context.Cause(ctx), true)
	}
	if a.err != nil {
		return p.startFault(a.err, false)
	}
	scanner, ok := a.scanner.(pluginv1.ScannerClient)
	if !ok {
		return p.fault(host.CodeInternal, false, "was dispensed as a %T", a.scanner)
	}
	p.scanner = scanner
	return nil
}

// startFault says why there was no handshake, by the best witness.
func (p *process) startFault(err error, late bool) *host.Fault {
	unavailable := func(format string, args ...any) *host.Fault {
		return p.fault(host.CodePluginUnavailable, true, format, args...)
	}
	if !p.runner.hasStarted() {
		f := unavailable("could not be started: %v", err)
		f.Err = err
		return f
	}
	if why := p.runner.refusedFor(); why != nil {
		return unavailable("gave no usable handshake: %v", why)
	}
	if late {
		said := p.runner.said.String()
		if said != "" {
			said = ": " + said
		}
		return unavailable("gave no handshake within %s%s", p.plugin.StartTimeout, said)
	}
	if p.dead() {
		return unavailable("%s", p.runner.exit("before the handshake"))
	}
	return unavailable("gave no usable handshake: %v", err)
}

// alive reports whether the process runs, as far as the kernel has told.
func (p *process) alive() bool {
	select {
	case <-p.runner.done:
		return false
	default:
		return true
	}
}

// stop ends the process and everything it started, and removes its directory.
// It takes at most a few seconds, whatever the plugin does; graceful lets it
// end by itself first. All callers return when it is done.
func (p *process) stop(graceful bool) {
	p.ending.Store(true)
	p.stopOnce.Do(func() { p.end(graceful) })
}

func (p *process) end(graceful bool) {
	if p.conn != nil {
		p.letGo()
		return
	}
	if !graceful {
		p.runner.kill()
	}
	closed := make(chan struct{})
	go func() { // may outlive us only when the kernel cannot kill the process
		defer close(closed)
		p.client.Kill()
	}()
	wait(closed, stopGrace)
	p.runner.kill()
	p.runner.closeExe()
	if p.runner.hasStarted() && !wait(p.runner.done, reapTime) {
		p.log.Error("plugin process does not end after SIGKILL, given up", "pid", p.runner.ID())
	}
	if wait(closed, reapTime) {
		p.runner.closeSocket()
	} else {
		p.log.Error("go-plugin does not let go of a dead plugin, its connection leaks", "pid", p.runner.ID())
	}
	if err := errors.Join(p.cell.close(), removeDir(p.dir)); err != nil {
		p.log.Warn("directory of a plugin process is left behind", "dir", p.dir, "error", err)
	}
}

// removeDir removes a tree that a plugin filled.
func removeDir(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return rmtree.IgnoreMissing(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return rmtree.IgnoreMissing(err)
	}
	err = errors.Join(rmtree.Empty(root), root.Close())
	return errors.Join(err, rmtree.IgnoreMissing(os.Remove(dir)))
}
