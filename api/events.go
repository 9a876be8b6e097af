package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/watch"
)

const (
	eventStream = "text/event-stream"
	// startID stands for the place before the first event, which has no id.
	startID = "0"
	// streamRetry is how long clients wait before they come back, in
	// milliseconds, and stoppingRetry the same when this host stops: others are
	// there at once.
	streamRetry, stoppingRetry = "3000", "500"
)

func (a *API) registerEvents(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "watch-scan", Method: http.MethodGet, Path: "/scans/{id}/events",
		Summary: "What happens to a scan, as it happens", Tags: []string{"events"}, Security: security(),
		Description: "Server-sent events: scan.snapshot first, then what happens, and scan.ended (or scan.removed) last, after which the stream ends. " +
			"Ids are the same on every host: a client that comes back with the one it saw last, at any host, gets what came since, each event once. " +
			"An event without an id leaves the place where it was. What is no longer kept is told by events.reset and a new snapshot. " +
			"After the last event, coming back with its id gives 204. A comment comes every 15 seconds.",
		Metadata:  map[string]any{streamed: true},
		Responses: eventResponses(doc, scanEvents()),
	}, a.watchScan)
	huma.Register(doc, huma.Operation{
		OperationID: "watch-scans", Method: http.MethodGet, Path: "/events",
		Summary: "What happens to all your scans, as it happens", Tags: []string{"events"}, Security: security(),
		Description: "As the events of a scan, but for progress: scans.snapshot first, then what happens to any scan of the tenant. It does not end by itself.",
		Metadata:    map[string]any{streamed: true},
		Responses:   eventResponses(doc, tenantEvents()),
	}, a.watchScans)
}

// LastEvent is where a client goes on. It is exported for huma, which looks at
// nothing else.
type LastEvent struct {
	Header string `header:"Last-Event-ID" maxLength:"64" doc:"The id of the last event that was seen; what came since is told."`
	Query  string `query:"last_event_id" maxLength:"64" doc:"The same, for clients that cannot set the header, which counts when both are given."`
}

// ask is what is to be watched from there on.
func (in LastEvent) ask(tenant host.TenantID, scan host.ScanID) watch.Ask {
	id := in.Header
	if id == "" {
		id = in.Query
	}
	ask := watch.Ask{Tenant: tenant, Scan: scan, Resume: id != "", After: host.EventID(id)}
	if id == startID {
		ask.After = ""
	}
	return ask
}

type watchScanInput struct {
	ID string `path:"id" doc:"Id of the scan."`
	LastEvent
}

func (a *API) watchScan(ctx context.Context, in *watchScanInput) (*huma.StreamResponse, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	return a.watch(ctx, in.ask(recordOf(ctx).tenant, id))
}

type watchScansInput struct{ LastEvent }

func (a *API) watchScans(ctx context.Context, in *watchScansInput) (*huma.StreamResponse, error) {
	return a.watch(ctx, in.ask(recordOf(ctx).tenant, ""))
}

func (a *API) watch(ctx context.Context, ask watch.Ask) (*huma.StreamResponse, error) {
	if a.deps.Watch == nil {
		if ask.Scan != "" {
			if _, err := a.deps.Store.Scan(ctx, ask.Tenant, ask.Scan); err != nil {
				return nil, problemOf(err, nil)
			}
		}
		return nil, &problemError{Problem: kindUnavailable().problem("This host serves no events. Ask for the scan instead.")}
	}
	begin, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	r, err := a.deps.Watch.Watch(begin, ask)
	if errors.Is(err, watch.ErrEnded) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { ctx.SetStatus(http.StatusNoContent) }}, nil
	}
	if err != nil {
		return nil, watchProblem(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) { //nolint:contextcheck // huma's own carries it
		defer r.Close()
		req, w := humamux.Unwrap(ctx)
		s := &stream{api: a, op: ctx.Operation(), r: req.WithContext(ctx.Context()), w: w, out: http.NewResponseController(w)}
		s.serve(ctx.Context(), r)
	}}, nil
}

// watchProblem says why nobody watches.
func watchProblem(err error) error {
	var p *problemError
	switch {
	case errors.Is(err, watch.ErrTenantFull):
		p = &problemError{Problem: kind{429, "too_many_streams", "Too many streams", ""}.problem(
			"Your tenant has as many event streams open at this host as it may. Close one, or ask for the scan instead.")}
	case errors.Is(err, watch.ErrHostFull):
		p = &problemError{Problem: kindUnavailable().problem("This host has as many event streams open as it takes. Try again, or ask for the scan instead.")}
	case errors.Is(err, watch.ErrStopping):
		p = &problemError{Problem: kindUnavailable().problem("This host is shutting down. Try again.")}
		p.header = http.Header{"Retry-After": {"1"}, "Connection": {"close"}}
		return p
	default:
		return problemOf(err, nil)
	}
	p.header = http.Header{"Retry-After": {"5"}}
	return p
}

// stream is one client that watches.
type stream struct {
	api *API
	op  *huma.Operation
	r   *http.Request // carries the key
	w   http.ResponseWriter
	out *http.ResponseController
}

// serve writes until there is no more, the client is gone or too slow, or its
// key opens nothing any more. A connection that breaks needs no answer: the
// client knows where it was.
func (s *stream) serve(ctx context.Context, r *watch.Reader) {
	rec := recordOf(ctx)
	rec.streams = time.Now()
	h := s.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	s.w.WriteHeader(http.StatusOK)
	if rec.head || s.write([]byte("retry: "+streamRetry+"\n\n")) != nil {
		return
	}
	for _, item := range r.First {
		if s.write(item.Bytes(renderItem)) != nil {
			return
		}
	}
	if s.out.Flush() != nil {
		return
	}
	beat := time.NewTicker(s.api.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if !s.mayGoOn(ctx) || s.write([]byte(":\n\n")) != nil || s.out.Flush() != nil {
				return
			}
		case item, more := <-r.Items():
			if !more {
				s.end(r.Err())
				return
			}
			// What waits already goes out with it.
			if s.write(item.Bytes(renderItem)) != nil || len(r.Items()) == 0 && s.out.Flush() != nil {
				return
			}
		}
	}
}

// write gives the client a bounded time to take what it is given.
func (s *stream) write(b []byte) error {
	_ = s.out.SetWriteDeadline(time.Now().Add(s.api.cfg.StreamWrite)) // writers that know no deadline need none
	_, err := s.w.Write(b)
	return err
}

// end says when to come back, if there is more to hear.
func (s *stream) end(err error) {
	if errors.Is(err, watch.ErrStopping) {
		_ = s.write([]byte("retry: " + stoppingRetry + "\n\n"))
	}
	_ = s.out.Flush()
}

// mayGoOn asks again whether the key opens this. While nobody can say, it does.
func (s *stream) mayGoOn(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, s.api.cfg.RequestTimeout)
	defer cancel()
	key, err := s.api.authenticate(ctx, s.r)
	if err != nil {
		return !errors.Is(err, host.ErrUnauthorized)
	}
	return allow(key, s.op) == nil
}
