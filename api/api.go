package api

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"
	"github.com/gorilla/mux"
	"github.com/hashicorp/go-hclog"
	"github.com/rs/cors"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/host/permission"
	"github.com/securetaghq/securetag/host/watch"
)

// Store is what the API needs of the store beside intake.
type Store interface {
	host.ScanStore
	host.TenantStore
	host.KeyStore
	host.AuditStore
	host.ProjectStore
	host.DeletionStore
	host.WebhookStore
	host.DeliveryStore
	host.TargetStore
	// UseOperatorKey is that of host.OperatorStore.
	UseOperatorKey(ctx context.Context, hash [32]byte) (host.OperatorKey, error)
	// Usage is that of host.QuotaStore.
	Usage(ctx context.Context, t host.TenantID) (host.Usage, error)
	Ping(ctx context.Context) error
}

// Blobs is where artifacts are.
type Blobs interface {
	Open(ctx context.Context, key host.BlobKey) (host.Blob, error)
}

// Queue is what the API needs of the doorbells: to say how they are.
type Queue interface {
	Ping(ctx context.Context) error
}

// Deps are what the API talks to; all but Meter, Canceled, DatabaseNote, Deleted,
// Plans, Limiter, Untracked, Configuration, Watch, Targets and CheckTarget are required.
type Deps struct {
	Store   Store
	Queue   Queue
	Control control.Queue
	Blobs   Blobs
	Plugins host.Plugins
	Intake  *intake.Intake
	Log     hclog.Logger
	Meter   host.Meter // is told of every answer; nil: nobody is
	// Canceled is told of each scan whose cancel was stored, and how it stands
	// since. It must not block. nil: running jobs hear of it later.
	Canceled func(host.Scan)
	// DatabaseNote is what /readyz says of a database that answers; "": nothing.
	DatabaseNote string
	// Deleted is told that there are scans to remove. It must not block. nil: the
	// hosts find out by themselves.
	Deleted func()
	// Plans says what each tenant may use; nil: everybody may use everything.
	Plans host.Plans
	// Limiter counts requests; nil: nobody is limited.
	Limiter host.RateLimiter
	// Untracked is told that somebody waits for a scan that ended to be compared
	// with those before. It must not block. nil: it is compared in its turn.
	Untracked func()
	// Configuration is shown and reloaded; nil: it stays as it is.
	Configuration host.Configuration
	// Watch tells clients what happens; nil: they have to ask.
	Watch *watch.Hub
	// Targets looks for the tokens of targets; nil: nobody does, and a verification
	// answers 503.
	Targets *permission.Permission
	// CheckTarget says what is wrong with a URL that this host is to call, in
	// words for people; nil: nothing is.
	CheckTarget func(url string) error
}

// Config tunes the API. The zero value of each field takes its default.
type Config struct {
	// Version is shown in the OpenAPI document; default "dev".
	Version string
	// TokenKey signs page tokens, at least 32 bytes. Hosts behind one address
	// need the same one. Default: random, so tokens end with the process.
	TokenKey []byte
	// RequestTimeout bounds every request but an upload; default 30 s.
	RequestTimeout time.Duration
	// BodyWindow and BodyQuota are the least pace of a request body: BodyQuota
	// bytes (or the rest of it) in each BodyWindow. Default 64 KiB in 30 s.
	BodyWindow time.Duration
	BodyQuota  int64
	// DrainBytes and DrainTime bound what is still read of a body after the
	// request was refused, so that a client that only reads when it has sent
	// everything gets the answer. Default 16 MiB, 5 s.
	DrainBytes int64
	DrainTime  time.Duration
	// Heartbeat is how often a stream of events says something whatever happens,
	// and the key is looked at again; default 15 s.
	Heartbeat time.Duration
	// StreamWrite is how long a client may take to read an event; default 10 s.
	StreamWrite time.Duration
	// Limits are those to begin with; SetLimits changes them.
	Limits Limits
	// CORSOrigins are those whose pages may read answers, such as
	// "https://dash.example.com", or "*". Default: none.
	CORSOrigins []string
}

func (c *Config) fill() error {
	if c.Version == "" {
		c.Version = "dev"
	}
	if len(c.TokenKey) == 0 {
		c.TokenKey = make([]byte, 32)
		_, _ = rand.Read(c.TokenKey) // never returns an error
	}
	if len(c.TokenKey) < 32 {
		return errors.New("api token key: must have at least 32 bytes")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.RequestTimeout, 30 * time.Second}, {&c.BodyWindow, 30 * time.Second}, {&c.DrainTime, 5 * time.Second},
		{&c.Heartbeat, 15 * time.Second}, {&c.StreamWrite, 10 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.BodyQuota == 0 {
		c.BodyQuota = 64 << 10
	}
	if c.DrainBytes == 0 {
		c.DrainBytes = 16 << 20
	}
	if c.Heartbeat < 0 || c.StreamWrite < 0 || c.RequestTimeout < 0 || c.BodyWindow < 0 || c.DrainTime < 0 || c.BodyQuota < 0 || c.DrainBytes < 0 {
		return errors.New("api config: limits must not be negative")
	}
	return nil
}

// API serves HTTP.
type API struct {
	deps      Deps
	cfg       Config
	log       hclog.Logger
	tokens    tokens
	keys      *keyring
	operators hashes // keys of operators
	strangers *lane  // keys that are in neither
	limits    atomic.Pointer[Limits]
	router    *mux.Router
	openAPI   func() ([]byte, error)
	pages     func() (pages, error)
	refused   refusals
	reports   shares        // that are being written
	merging   chan struct{} // CycloneDX documents: one at a time is in memory
	ready     readiness
	draining  atomic.Bool
	cors      *cors.Cors // nil: none
	waiting   waiting
}

// New builds the routes and the OpenAPI document. It starts nothing.
func New(deps Deps, cfg Config) (*API, error) {
	if deps.Store == nil || deps.Queue == nil || deps.Control.Store == nil || deps.Blobs == nil || deps.Plugins == nil || deps.Intake == nil || deps.Log == nil {
		return nil, errors.New("api: store, queue, control, blobs, plugins, intake and log are required")
	}
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if deps.Meter == nil {
		deps.Meter = host.NoMeter{}
	}
	if deps.Plans == nil {
		deps.Plans = host.FixedPlan{}
	}
	if deps.Untracked == nil {
		deps.Untracked = func() {}
	}
	a := &API{
		deps: deps, cfg: cfg, log: deps.Log, tokens: tokens{key: cfg.TokenKey}, keys: newKeyring(deps.Store.UseKey),
		strangers: newLane(deps.Store.GoodKeys), merging: make(chan struct{}, 1),
		cors: newCORS(cfg.CORSOrigins),
	}
	a.SetLimits(cfg.Limits)
	doc := a.route()
	a.registerScans(doc)
	a.registerUploads(doc)
	a.registerArtifacts(doc)
	a.registerReports(doc)
	a.registerDeletions(doc)
	a.registerAdmin(doc)
	a.registerTenants(doc)
	a.registerAudit(doc)
	a.registerPlugins(doc)
	a.registerUsage(doc)
	a.registerProjects(doc)
	a.registerImports(doc)
	a.registerTriage(doc)
	a.registerDiff(doc)
	a.registerConfig(doc)
	a.registerEvents(doc)
	a.registerWebhooks(doc)
	a.registerTargets(doc)
	a.publish(doc)
	return a, nil
}

// NewHealth makes an API that answers /healthz and /readyz and nothing else, for
// a host that only runs jobs. It needs no Intake.
func NewHealth(deps Deps, cfg Config) (*API, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	deps.Intake, deps.Limiter = nil, nil
	if deps.Meter == nil {
		deps.Meter = host.NoMeter{}
	}
	a := &API{deps: deps, cfg: cfg, log: deps.Log}
	a.SetLimits(cfg.Limits)
	a.route()
	return a, nil
}

// route makes the router, with what every host answers.
func (a *API) route() huma.API {
	// Cleaning paths would answer "//scans" with a redirect in HTML.
	a.router = mux.NewRouter().SkipClean(true)
	a.router.NotFoundHandler = http.HandlerFunc(a.notFound)
	a.router.MethodNotAllowedHandler = http.HandlerFunc(a.methodNotAllowed)
	doc := humamux.New(a.router, a.humaConfig())
	doc.UseMiddleware(a.protect)
	a.registerHealth(doc)
	return doc
}

// Drain makes the host unready and refuses new scans, while what is under way
// and every read goes on. It cannot be undone.
func (a *API) Drain() { a.draining.Store(true) }

// refuseWhileDraining is the first thing a handler that creates scans asks.
func (a *API) refuseWhileDraining() error {
	if !a.draining.Load() {
		return nil
	}
	return &problemError{
		Problem: kindUnavailable().problem("This host is shutting down and accepts no new scans. Try again."),
		header:  http.Header{"Retry-After": {"5"}, "Connection": {"close"}},
	}
}

// protect is huma's middleware: it notes the route for the access log, bounds
// the time of everything but uploads, and asks for the key where the operation
// says so, and whether it has requests left. What asks for none is /healthz and
// /readyz, which nothing limits.
func (a *API) protect(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	rec := recordOf(ctx.Context())
	rec.route = op.Path
	if op.Metadata[streamed] == nil {
		limited, cancel := context.WithTimeout(ctx.Context(), a.cfg.RequestTimeout)
		defer cancel()
		ctx = huma.WithContext(ctx, limited)
	}
	if len(op.Security) > 0 {
		r, w := humamux.Unwrap(ctx)
		r = r.WithContext(ctx.Context())
		err := a.admit(w, r, op)
		if err == nil && op.Metadata[creates] != nil {
			err = checkKey(r)
		}
		if err != nil {
			a.writeProblem(w, r, err)
			return
		}
	}
	next(ctx)
	if audited(op, rec) {
		a.audit(ctx.Context(), op, rec)
	}
}

// streamed marks an operation whose body takes as long as it takes.
const streamed = "streamed"

func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	if err := a.limitAddress(w, r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	if err := a.unknownType(r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	text := "There is nothing at this address. The routes are described in /openapi.json."
	if a.deps.Intake == nil {
		text = "This host only runs jobs: it answers /healthz and /readyz. Send requests to a host whose server.role is api or all."
	}
	a.writeProblem(w, r, &problemError{Problem: kindNotFound().problem(text)})
}

// unknownType explains a POST to where a scan type would be if it existed; nil
// for any other request.
func (a *API) unknownType(r *http.Request) error {
	if r.Method != http.MethodPost || a.deps.Intake == nil {
		return nil
	}
	name, isURL := strings.CutPrefix(r.URL.Path, "/scans/")
	if isURL && name != "" && !strings.Contains(name, "/") {
		return problemOf(a.deps.Intake.Admit(name, host.InputURL), nil)
	}
	name, isUpload := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/upload")
	if isUpload && name != "" && !strings.Contains(name, "/") {
		return problemOf(a.deps.Intake.Admit(name, host.InputArchive), nil)
	}
	return nil
}

func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	if err := a.limitAddress(w, r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	if err := a.unknownType(r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	allow := strings.Join(a.methodsAt(r), ", ")
	p := &problemError{
		Problem: kindMethodNotAllowed().problem("This address answers " + allow + "."),
		header:  http.Header{"Allow": {allow}},
	}
	a.writeProblem(w, r, p)
}

// methodsAt are those that an address answers. One with a route of its own is not
// also one of a pattern: a scan type is no scan.
func (a *API) methodsAt(r *http.Request) (all []string) {
	own := false
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		var match mux.RouteMatch
		if !a.router.Match(probe, &match) || match.MatchErr != nil {
			continue
		}
		template, _ := match.Route.GetPathTemplate() // every route has one
		literal := template == r.URL.Path
		if own && !literal {
			continue
		}
		if literal && !own {
			own, all = true, nil
		}
		all = append(all, method)
		if method == http.MethodGet {
			all = append(all, http.MethodHead)
		}
	}
	return all
}
