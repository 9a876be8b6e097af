package api

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
)

const (
	pingTimeout  = 2 * time.Second
	readinessTTL = time.Second // nobody needs a key to ask, so asking must be cheap
)

// readiness keeps the last answer for a moment.
type readiness struct {
	mu   sync.Mutex
	at   time.Time
	last client.Readiness
}

type healthOutput struct{ Body client.Health }

type readyOutput struct {
	Status int
	Body   client.Readiness
}

func (a *API) registerHealth(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz",
		Summary: "Whether the process serves", Tags: []string{"health"},
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Body: client.Health{Status: "ok"}}, nil
	})
	huma.Register(doc, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/readyz",
		Summary:     "Whether the host can accept scans",
		Description: "Degraded: scans are accepted, and wait until the queue is back. A configuration that is degraded could not be reloaded; the one before it is in force, and the host is none the less ready.",
		Tags:        []string{"health"},
		Responses: map[string]*huma.Response{
			"503": {Description: "Not ready", Content: map[string]*huma.MediaType{
				"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Readiness"}},
			}},
		},
	}, a.readyz)
}

func (a *API) readyz(ctx context.Context, _ *struct{}) (*readyOutput, error) {
	out := &readyOutput{Status: http.StatusOK, Body: a.checkReadiness(ctx)}
	if a.draining.Load() {
		out.Body.Status = client.Unavailable
	}
	if a.deps.Configuration != nil {
		out.Body.Checks = maps.Clone(out.Body.Checks) // the others are kept for who asks next
		out.Body.Checks["configuration"] = configCheck(a.deps.Configuration.State())
	}
	if out.Body.Status == client.Unavailable {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

// checkReadiness asks store and queue, at most once a second. Who comes while
// it is being asked waits for the answer. The asking does not end with the
// request that began it, or a client that hangs up would make the host look
// broken to the others.
func (a *API) checkReadiness(ctx context.Context) client.Readiness {
	a.ready.mu.Lock()
	defer a.ready.mu.Unlock()
	if !a.ready.at.IsZero() && time.Since(a.ready.at) < readinessTTL {
		return a.ready.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	var queue, database client.Check
	var wg sync.WaitGroup
	wg.Go(func() { queue = a.ping(ctx, "queue", a.deps.Queue.Ping) })
	wg.Go(func() { database = a.ping(ctx, "database", a.deps.Store.Ping) })
	wg.Wait()
	r := client.Readiness{Status: client.Ready, Checks: map[string]client.Check{"database": database, "queue": queue}}
	if database.Status == client.Ready {
		database.Detail = a.deps.DatabaseNote
		r.Checks["database"] = database
	}
	switch {
	case database.Status != client.Ready:
		r.Status = client.Unavailable
	case queue.Status != client.Ready:
		r.Status = client.Degraded
	}
	a.ready.at, a.ready.last = time.Now(), r
	return r
}

// ping keeps the error, which may name servers, out of the answer.
func (a *API) ping(ctx context.Context, name string, ping func(context.Context) error) client.Check {
	if err := ping(ctx); err != nil {
		a.log.Debug("readiness check failed", "check", name, "error", err)
		return client.Check{Status: client.Unavailable, Detail: "It does not answer."}
	}
	return client.Check{Status: client.Ready}
}
