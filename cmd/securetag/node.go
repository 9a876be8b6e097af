package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/host/dispatch"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/host/permission"
	"github.com/securetaghq/securetag/host/redisstream"
	"github.com/securetaghq/securetag/host/retention"
	"github.com/securetaghq/securetag/host/secretbox"
	"github.com/securetaghq/securetag/host/tracking"
	"github.com/securetaghq/securetag/host/watch"
	"github.com/securetaghq/securetag/host/webhook"
	"github.com/securetaghq/securetag/host/workspace"
	"github.com/securetaghq/securetag/sdk/egress"
)

// node is one running host: every part, wired. Data flows down this list.
type node struct {
	cfg     config.Config // with which it was started; what a reload changes is in live
	live    *live
	log     hclog.Logger
	closers []func() error // in the order in which they were opened
	owner   string
	store   host.Store
	// databaseNote is what /readyz says of it beside that it answers.
	databaseNote string
	blobs        *dirblob.Store
	workspaces   workspaces
	server       *http.Server
	listener     net.Listener
	api          *api.API
	intake       *intake.Intake // nil: it takes no requests
	watch        *watch.Hub     // nil: the same
	dispatcher   *dispatch.Dispatcher
	executor     *executor.Executor // nil: it runs no jobs
	changed      chan struct{}      // its plugins did: see learn
	confinement  confinement        // of its plugins; zero: it runs none
	sweeper      *retention.Sweeper
	tracker      *tracking.Tracker
	guard        *egress.Guard      // of what is called for tenants
	deliverer    *webhook.Deliverer // nil: it runs no jobs
	permission   *permission.Permission
	plans        *plans
	secrets      *secretbox.Ring
	meter        host.Meter
	metrics      *metrics // nil: nobody asked for them
}

// purpose is what a host is opened for.
type purpose struct {
	archives workspace.Limits // within which archives are unpacked
	lasting  bool             // what it keeps is there for scans to come
}

// openNode opens everything and starts nothing. Close it also after an error of
// run.
func openNode(ctx context.Context, cfg config.Config, what purpose, version string, log hclog.Logger) (_ *node, err error) {
	n := &node{cfg: cfg, log: log, changed: make(chan struct{}, 1), plans: newPlans(cfg, log.Named("plans"))}
	n.live = newLive(n, cfg, what.archives)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	id, err := takeIdentity(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	n.onClose(id.Close)
	n.owner = id.name
	if embeddedStore(cfg) {
		if err := n.lockEmbedded(); err != nil {
			return nil, err
		}
	}
	if n.store, err = openStore(ctx, cfg); err != nil {
		return nil, err
	}
	n.onClose(n.store.Close)
	n.databaseNote = rowSecurity(n.store, log)
	q, err := n.openQueue()
	if err != nil {
		return nil, err
	}
	if n.blobs, err = dirblob.New(filepath.Join(cfg.DataDir, "blobs")); err != nil {
		return nil, err
	}
	n.onClose(n.blobs.Close)
	if n.secrets, err = keepSecretKeys(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("keep the keys of secrets: %w", err)
	}
	if n.runsJobs() {
		if err := n.openPlugins(id, what, version); err != nil {
			return nil, err
		}
	}
	if n.guard, err = openGuard(cfg); err != nil {
		return nil, err
	}
	n.openPermission(version)
	if err := n.openDispatcher(q, version); err != nil {
		return nil, err
	}
	if n.sweeper, err = n.openSweeper(id); err != nil {
		return nil, err
	}
	n.tracker = tracking.New(n.store, tracking.Config{Most: func() int { return n.live.config().Limits.ProjectFindings }}, n.log)
	if n.runsJobs() {
		if err := n.openWebhooks(version); err != nil {
			return nil, err
		}
	}
	if !n.takesRequests() {
		return n, n.openHealth(q.bells, version)
	}
	n.intake, err = intake.New(n.store, n.blobs, checkArchive(n.live.archiveLimits), scanTypes(cfg), n.dispatcher.Wake,
		intake.Config{
			MaxArchive: int64(cfg.Limits.ArchiveSize), Packed: n.workspaces.recent.Put, Accepted: n.dispatcher.Accepted, Permit: n.permit,
			Sealer: n.secrets, SecretOptions: n.secretOptions,
		}, log.Named("intake"))
	if err != nil {
		return nil, err
	}
	return n, n.openAPI(q, version)
}

// openPlugins opens what running jobs takes.
func (n *node) openPlugins(id *identity, what purpose, version string) error {
	tellMissing(n.cfg, n.log)
	manager, err := workspace.New(filepath.Join(n.cfg.DataDir, "work"), what.archives, n.log.Named("workspace"))
	if err != nil {
		return err
	}
	n.onClose(manager.Close)
	n.workspaces = workspaces{
		blobs: n.blobs, disk: manager, memory: openMemory(n.cfg.Worker.MemoryDir, what.archives, n.log.Named("workspace")),
		recent: workspace.NewRecent(recentBytes), jobsOf: n.live.jobsOf,
	}
	if m := n.workspaces.memory; m != nil {
		n.onClose(m.Close)
	}
	run, err := runDir(n.cfg.DataDir, id)
	if err != nil {
		return fmt.Errorf("find a place for plugin sockets: %w", err)
	}
	ec := executorConfig(n.cfg, run, version)
	if what.lasting { // else identities are the same everywhere, and secrets not told apart
		if ec.IdentityKey, err = keepRandom(filepath.Join(n.cfg.DataDir, "identity.key"), 32); err != nil {
			return fmt.Errorf("keep the key of identities: %w", err)
		}
	}
	n.executor, err = openExecutor(ec, n.cfg, n.log, n.confined())
	return err
}

func (n *node) openDispatcher(q queue, version string) (err error) {
	slots := n.cfg.Worker.Slots
	if slots == 0 {
		slots = runtime.NumCPU()
	}
	if !n.runsJobs() {
		slots = 0
	}
	if err := n.openMetrics(q.bells, slots, version); err != nil {
		return err
	}
	cfg := dispatch.Config{
		Owner: n.owner, Slots: slots, Lease: n.cfg.Worker.Lease, Heartbeat: n.cfg.Worker.Heartbeat,
		Grace: jobGrace(n.cfg), Backoff: n.live.backoff, Caps: n.plans.caps,
		Events: q.events, Cancels: q.cancels, Meter: n.meter, Artifacts: n.blobs, Permit: n.permission.Hosts, Secrets: n.openSecrets,
	}
	var runner host.Executor = n.executor
	if !n.runsJobs() {
		runner = elsewhere(slices.Sorted(maps.Keys(n.cfg.Plugins)))
	}
	n.dispatcher, err = dispatch.New(n.store, q.bells, runner, n.workspaces, cfg, n.log)
	return err
}

// archiveLimits are those of archives that strangers upload.
func archiveLimits(cfg config.Config) workspace.Limits {
	return workspace.Limits{
		UnpackedBytes: int64(cfg.Limits.UnpackedSize), FileBytes: int64(cfg.Limits.FileSize), Entries: cfg.Limits.Entries,
	}
}

func checkArchive(limits func() workspace.Limits) intake.CheckFunc {
	return func(ctx context.Context, r io.ReaderAt, size, unpacked int64) (intake.Summary, error) {
		limits := limits()
		limits.UnpackedBytes = least(limits.UnpackedBytes, unpacked)
		limits.FileBytes = least(limits.FileBytes, unpacked)
		s, err := workspace.Check(ctx, r, size, limits)
		var refused *workspace.ArchiveError
		if errors.As(err, &refused) {
			err = intake.RefuseArchive(string(refused.Code), refused.Entry, refused.Detail, refused)
		}
		return intake.Summary{
			Format: string(s.Format), Files: s.Files, UnpackedBytes: s.UnpackedBytes, Dropped: s.Dropped.Total(),
		}, err
	}
}

// jobGrace is how long jobs may go on when the host stops: the shutdown grace,
// but for what stopping plugins takes that did not end by themselves, and
// storing that their jobs are released.
func jobGrace(cfg config.Config) time.Duration {
	longest := time.Duration(0)
	for _, p := range cfg.Plugins {
		longest = max(longest, p.CancelGrace)
	}
	return max(cfg.Server.ShutdownGrace-longest-5*time.Second, 0)
}

// lockEmbedded keeps a second host off an embedded database: the queue in this
// process would ring for nobody else.
func (n *node) lockEmbedded() error {
	lock, err := lockFile(filepath.Join(n.cfg.DataDir, "embedded.lock"))
	if errors.Is(err, host.ErrConflict) {
		return fmt.Errorf("another host runs on %s: give this one a data_dir of its own, or set database.url and redis.url to run several", n.cfg.DataDir)
	}
	if err != nil {
		return fmt.Errorf("lock the data directory: %w", err)
	}
	n.onClose(lock.Close)
	return nil
}

func (n *node) openAPI(q queue, version string) error {
	var err error
	n.watch, err = watch.New(q.events, n.store, watch.Config{Readers: n.cfg.Server.EventStreams, TenantReaders: n.cfg.Server.TenantEventStreams}, n.log.Named("watch"))
	if err != nil {
		return err
	}
	key, err := keepRandom(filepath.Join(n.cfg.DataDir, "page-token.key"), 32)
	if err != nil {
		return fmt.Errorf("keep the key of page tokens: %w", err)
	}
	deps := api.Deps{
		Store: n.store, Queue: q.bells, Intake: n.intake, Log: n.log.Named("api"), Meter: n.meter, Canceled: n.dispatcher.Canceled,
		Deleted: n.sweeper.Deleted, DatabaseNote: n.databaseNote,
		Plugins: hostPlugins{n}, Configuration: n.live,
		Control: control.Queue{Store: n.store, Blobs: n.blobs, Wake: n.dispatcher.Wake},
		Blobs:   n.blobs, Plans: n.plans, Untracked: n.tracker.Wake, Watch: n.watch, CheckTarget: n.checkTarget,
		Targets: n.permission,
	}
	if deps.Limiter, err = n.openLimiter(q.rates); err != nil {
		return err
	}
	n.api, err = api.New(deps, api.Config{
		Version: version, TokenKey: key, RequestTimeout: n.cfg.Server.RequestTimeout, Limits: apiLimits(n.cfg),
		CORSOrigins: n.cfg.Server.CORSOrigins,
	})
	if err != nil {
		return err
	}
	return n.listen()
}

// listen makes the server and takes its port.
func (n *node) listen() (err error) {
	n.server = api.Server(n.api, n.log.Named("http"))
	if n.listener, err = net.Listen("tcp", n.cfg.Server.Listen); err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	n.onClose(func() error {
		if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return nil
}

// queue is what hosts tell each other on one Redis.
type queue struct {
	bells   *redisstream.Doorbells
	events  *redisstream.Events
	cancels *redisstream.Cancels
	rates   *redisstream.Rates
}

// eventReaders is how many connections wait for events: one, for all who watch.
const eventReaders = 1

// openQueue connects to Redis, or starts one in this process.
func (n *node) openQueue() (q queue, err error) {
	r := n.cfg.Redis
	cfg := redisstream.Config{Prefix: r.KeyPrefix, Consumer: n.owner}
	events := redisstream.EventsConfig{Prefix: r.KeyPrefix}
	server := redisstream.Server{
		URL: r.URL.Reveal(), Addresses: r.Addresses, SentinelMaster: r.SentinelMaster,
		Username: r.Username, Password: r.Password.Reveal(), TLS: r.TLS,
	}
	if embeddedQueue(n.cfg) {
		e, err := redisstream.StartEmbedded()
		if err != nil {
			return q, err
		}
		n.onClose(e.Close)
		server = e.Server()
		cfg.Block = 250 * time.Millisecond // waking costs nothing here, and stopping waits for it
		events.Block = cfg.Block
	}
	client, reader, err := redisstream.Connect(server)
	if err != nil {
		return q, err
	}
	n.onClose(client.Close)
	n.onClose(reader.Close)
	if q.bells, err = redisstream.New(client, reader, cfg); err != nil {
		return q, err
	}
	readers, err := redisstream.ConnectReader(server, eventReaders)
	if err != nil {
		return q, err
	}
	n.onClose(readers.Close)
	if q.events, err = redisstream.NewEvents(client, readers, events); err != nil {
		return q, err
	}
	if q.cancels, err = redisstream.NewCancels(client, redisstream.CancelsConfig{Prefix: r.KeyPrefix}); err != nil {
		return q, err
	}
	q.rates, err = redisstream.NewRates(client, redisstream.RatesConfig{Prefix: r.KeyPrefix})
	return q, err
}

func embeddedQueue(cfg config.Config) bool {
	return cfg.Redis.URL.IsZero() && len(cfg.Redis.Addresses) == 0
}

func openExecutor(ec executor.Config, cfg config.Config, log hclog.Logger, in confinement) (*executor.Executor, error) {
	if err := attach(&ec, cfg); err != nil {
		return nil, err
	}
	if err := in.apply(&ec, cfg); err != nil {
		return nil, err
	}
	return executor.New(ec, log)
}

// executorConfig uses dir, which must be this process's alone, for plugin sockets.
func executorConfig(cfg config.Config, dir, version string) executor.Config {
	ec := executor.Config{RunDir: dir, HostVersion: version, DescribeDir: describeDir(cfg)}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) {
		p := cfg.Plugins[name]
		if executor.Isolation(p.Isolation) != executor.PerScan {
			p.Standby = 0 // nobody knows whose job comes next, or the one process is always there
		}
		ec.Plugins = append(ec.Plugins, executor.Plugin{
			Name: name, Command: p.Command, Args: p.Args, Env: p.Env, Config: p.Config, Places: p.Places, Literals: p.Literals,
			SHA256: p.SHA256, Dir: p.Dir, Files: p.Files, Dev: p.Dev, Version: p.Version,
			Isolation: executor.Isolation(p.Isolation), Standby: p.Standby, TenantIdle: p.TenantIdle, TenantProcesses: p.TenantProcesses,
			MaxFindings: cfg.Limits.Findings, MaxFindingsRule: cfg.Limits.RuleFindings,
			MaxArtifactsBytes: int64(cfg.Limits.Artifacts), MaxSilence: p.MaxSilence,
			CancelGrace: p.CancelGrace, StartTimeout: p.StartTimeout,
			Restart: executor.Restart{
				FirstDelay: p.Restart.Backoff.Min, LastDelay: p.Restart.Backoff.Max,
				MaxFailures: p.Restart.MaxFailures, Window: p.Restart.Window,
			},
		})
	}
	return ec
}

// describeDir is where it is remembered what plugins say of themselves.
func describeDir(cfg config.Config) string { return filepath.Join(cfg.DataDir, "descriptions") }

// runDir is where a host's plugin sockets live: below the data directory, or
// below the temporary one where that is too deep for a socket's path. It is this
// host's alone, so whatever it holds at the start was left by one that died.
func runDir(dataDir string, id *identity) (string, error) {
	const longest = 64
	if dir := filepath.Join(dataDir, "run", strconv.Itoa(id.slot)); len(dir) <= longest {
		return dir, nil
	}
	dir, err := ownDir("/tmp")
	return filepath.Join(dir, id.key), err
}

func scanTypes(cfg config.Config) []intake.ScanType {
	var types []intake.ScanType
	for _, name := range slices.Sorted(maps.Keys(cfg.Scans)) {
		s := cfg.Scans[name]
		types = append(types, intake.ScanType{
			Name: name, Input: host.InputKind(s.Input), Plugins: s.Plugins, Timeout: s.Timeout, Attempts: s.Attempts, Options: s.OptionsSchema(),
		})
	}
	return types
}

// run serves until ctx ends, then stops in order: intake, running jobs, plugins.
func (n *node) run(ctx context.Context) error {
	back, err := n.store.ReleaseOwner(ctx, n.owner)
	if ctx.Err() != nil {
		return nil // told to stop before it began
	}
	if err != nil && !errors.Is(err, host.ErrUnavailable) {
		return fmt.Errorf("give back the jobs of the run before: %w", err)
	}
	if len(back) > 0 {
		n.dispatcher.Taken(back)
		n.log.Info("gave back jobs of the run before, which did not end properly", "jobs", len(back))
	}
	plugins, stopPlugins := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlugins()
	// A part that fails stops the others.
	group, ctx := errgroup.WithContext(ctx)
	if n.runsJobs() {
		group.Go(func() error { return n.executor.Serve(plugins) })
		group.Go(func() error { return n.deliverer.Run(ctx) })
		group.Go(func() error { return n.permission.Run(ctx) })
		if !embeddedQueue(n.cfg) { // else nobody else takes requests for it
			group.Go(func() error { n.learn(ctx); return nil })
		}
	}
	group.Go(func() error { return n.sweeper.Run(ctx) })
	group.Go(func() error { return n.tracker.Run(ctx) })
	if n.takesRequests() {
		group.Go(func() error { return n.api.Run(ctx) })
		group.Go(func() error { return n.watch.Run(ctx) }) // ends with ctx, and the streams with it
	}
	group.Go(func() error {
		defer stopPlugins()
		return n.dispatcher.Run(ctx)
	})
	group.Go(func() error { return n.serveHTTP(ctx) })
	group.Go(func() error { return n.metrics.serve(ctx, n.log) })
	group.Go(func() error { n.live.hear(ctx); return nil })
	return group.Wait()
}

// serveHTTP serves until ctx ends and lets running requests end then.
func (n *node) serveHTTP(ctx context.Context) error {
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() {
		n.api.Drain()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Server.ShutdownGrace)
		defer cancel()
		err := n.server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			n.log.Warn("closed connections whose requests did not end within the grace")
			err = n.server.Close()
		}
		stopped <- err
	})
	err := n.server.Serve(n.listener)
	if release() { // ctx has not ended: Serve gave up by itself
		return fmt.Errorf("serve the API: %w", err)
	}
	return <-stopped
}

func (n *node) onClose(f func() error) { n.closers = append(n.closers, f) }

// close closes what was opened, last first.
func (n *node) close() error {
	var errs []error
	for _, f := range slices.Backward(n.closers) {
		errs = append(errs, f())
	}
	n.closers = nil
	return errors.Join(errs...)
}

// url is where the API listens.
func (n *node) url() string { return "http://" + n.listener.Addr().String() }
