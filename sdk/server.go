package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

const (
	defaultGrace    = 5 * time.Second
	defaultInterval = 10 * time.Second
	minInterval     = 100 * time.Millisecond
)

// Server serves one scanner. Main makes it; tests and hosts that run a scanner
// in their own process make it with NewServer.
type Server struct {
	pluginv1.UnimplementedScannerServer

	log      hclog.Logger
	describe *pluginv1.DescribeResponse
	config   *schema
	options  *schema // nil: none
	rules    map[string]bool
	limit    int
	scan     func(ctx context.Context, config any, t *Target, out *Out) error
	health   func(config any) Health // nil: nothing to say

	mu       sync.Mutex
	settings any // *C; nil until configured
	runs     map[string]*run
	scans    int // running scans: author's code that has not returned
	calls    int // open Scan calls
	draining bool
	changed  chan struct{} // closed and replaced on every change of the above

	rehearsal sync.Once
}

var _ pluginv1.ScannerServer = (*Server)(nil)

// NewServer checks s and makes its server. The error names everything that the
// author got wrong.
func NewServer[C any](s Scanner[C], log hclog.Logger) (*Server, error) {
	errs := []error{s.check()}
	config, err := newSchema(reflect.TypeFor[C]())
	errs = append(errs, err)
	var options *schema
	if s.Options != nil {
		options, err = newSchema(reflect.TypeOf(s.Options))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("scanner %q: %w", s.Name, err)
	}
	srv := &Server{
		log:      log,
		describe: s.describe(),
		config:   config,
		options:  options,
		rules:    make(map[string]bool, len(s.Rules)),
		limit:    max(s.MaxConcurrentScans, 1),
		runs:     make(map[string]*run),
		changed:  make(chan struct{}),
		scan: func(ctx context.Context, config any, t *Target, out *Out) error {
			return s.Scan(ctx, config.(*C), t, out)
		},
	}
	if s.Health != nil {
		srv.health = func(config any) Health { return s.Health(config.(*C)) }
	}
	srv.describe.ConfigSchema = config.block()
	if options != nil {
		srv.describe.OptionsSchema = options.block()
	}
	for _, r := range s.Rules {
		srv.rules[r.ID] = true
	}
	return srv, nil
}

// Describe implements the contract.
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return proto.CloneOf(s.describe), nil
}

// Configure implements the contract.
func (s *Server) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (resp *pluginv1.ConfigureResponse, err error) {
	defer func() {
		if v := recover(); v != nil { // Validate is the author's
			s.log.Error("panic in Validate", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			resp, err = nil, status.Errorf(codes.Internal, "checking the settings panicked: %s", oneLine(fmt.Sprint(v), maxTitle))
		}
	}()
	settings, diags := s.config.decode(req.GetConfigJson())
	if !wrong(diags) && !req.GetValidateOnly() {
		s.mu.Lock()
		s.settings = settings
		s.mu.Unlock()
		s.rehearsal.Do(func() { go rehearse() }) // while it waits for its first scan
	}
	return &pluginv1.ConfigureResponse{Diagnostics: diags}, nil
}

// Scan implements the contract.
func (s *Server) Scan(req *pluginv1.ScanRequest, stream pluginv1.Scanner_ScanServer) error {
	target, err := s.target(req)
	if err != nil {
		return status.Error(codes.InvalidArgument, oneLine(err.Error(), maxMessage))
	}
	if target.root != nil {
		defer func() { _ = target.root.Close() }() // only read
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	r := newRun(req, stream, cancel, s.log.With("run", clean(req.GetRunId(), 64)), s.rules)
	defer cancel(errEnded)
	target.out = r.out
	for _, d := range target.remarks {
		r.out.Note(Note{Level: Warning, Summary: d.Summary, Detail: d.Detail})
	}
	settings, err := s.begin(req.GetRunId(), r)
	if err != nil {
		return err
	}
	defer s.change(func() { s.calls-- })
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if v := recover(); v != nil {
				err = &panicked{value: v, stack: debug.Stack()}
			}
			// The slot is free before the host can hear of the end, so that
			// its next scan is not refused.
			s.change(func() {
				s.scans--
				delete(s.runs, req.GetRunId())
			})
			done <- err
		}()
		err = s.scan(ctx, settings, target, r.out)
	}()
	return r.pump(done)
}

// target checks the request and opens what it names.
func (s *Server) target(req *pluginv1.ScanRequest) (*Target, error) {
	if req.GetRunId() == "" {
		return nil, errors.New("run_id is empty")
	}
	t := &Target{
		name:    req.GetTarget().GetDisplayName(),
		workDir: req.GetWorkDir(),
		attempt: int(req.GetAttempt()),
		key:     req.GetIdentityKey(),
	}
	if s.options == nil {
		s := schema{typ: reflect.TypeFor[struct{}]()}
		if _, diags := s.decode(req.GetOptionsJson()); len(diags) > 0 {
			return nil, refused("options", diags)
		}
	} else {
		options, diags := s.options.decode(req.GetOptionsJson())
		if wrong(diags) {
			return nil, refused("options", diags)
		}
		t.options, t.remarks = options, diags
	}
	switch k := req.GetTarget().GetKind().(type) {
	case *pluginv1.Target_Root:
		if !s.takes(Tree) {
			return nil, errors.New("this scanner takes no tree")
		}
		if !filepath.IsAbs(k.Root) {
			return nil, errors.New("target.root is not an absolute path")
		}
		root, err := os.OpenRoot(k.Root)
		if err != nil {
			return nil, fmt.Errorf("open the target: %w", err)
		}
		t.root = root
	case *pluginv1.Target_Url:
		if !s.takes(URL) {
			return nil, errors.New("this scanner takes no URL")
		}
		t.url, t.permitted = k.Url, req.GetPermittedHosts()
	default:
		return nil, errors.New("the request names no target that this scanner knows")
	}
	return t, nil
}

func (s *Server) takes(in Input) bool {
	for _, c := range s.describe.Consumes {
		if c == pluginv1.Input(in) {
			return true
		}
	}
	return false
}

// refused puts diagnostics into one error.
func refused(what string, diags []*pluginv1.Diagnostic) error {
	var errs []error
	for _, d := range diags {
		errs = append(errs, errors.New(d.Summary))
	}
	return fmt.Errorf("%s: %w", what, errors.Join(errs...))
}

// begin takes a slot for r or says why there is none.
func (s *Server) begin(id string, r *run) (settings any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return nil, status.Error(codes.Unavailable, "the plugin is draining")
	case s.settings == nil:
		return nil, status.Error(codes.FailedPrecondition, "the plugin is not configured: call Configure first")
	case s.runs[id] != nil:
		return nil, status.Errorf(codes.InvalidArgument, "the run %.64q is going on already", id)
	case s.scans >= s.limit:
		return nil, status.Errorf(codes.ResourceExhausted, "%d of %d scans are running", s.scans, s.limit)
	}
	s.runs[id] = r
	s.scans++
	s.calls++
	s.announce()
	return s.settings, nil
}

// Cancel implements the contract.
func (s *Server) Cancel(_ context.Context, req *pluginv1.CancelRequest) (*pluginv1.CancelResponse, error) {
	s.mu.Lock()
	r := s.runs[req.GetRunId()]
	s.mu.Unlock()
	if r == nil {
		return &pluginv1.CancelResponse{}, nil
	}
	grace := defaultGrace
	if req.GetGrace() != nil {
		grace = max(req.GetGrace().AsDuration(), 0)
	}
	r.stop(oneLine(req.GetReason(), maxTitle), grace)
	return &pluginv1.CancelResponse{Known: true}, nil
}

// Health implements the contract.
func (s *Server) Health(req *pluginv1.HealthRequest, stream pluginv1.Scanner_HealthServer) error {
	every := defaultInterval
	if req.GetInterval() != nil {
		every = max(req.GetInterval().AsDuration(), minInterval)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s.mu.Lock()
		u := &pluginv1.HealthUpdate{State: pluginv1.HealthUpdate_STATE_HEALTHY, ActiveScans: uint32(s.scans)}
		if s.draining {
			u.State, u.Description = pluginv1.HealthUpdate_STATE_DEGRADED, "draining: no new scans"
		}
		changed := s.changed
		s.mu.Unlock()
		s.tell(u)
		if err := stream.Send(u); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// Drain implements the contract.
func (s *Server) Drain(ctx context.Context, req *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	s.change(func() { s.draining = true })
	ctx, cancel := context.WithTimeout(ctx, max(req.GetGrace().AsDuration(), 0))
	defer cancel()
	return &pluginv1.DrainResponse{ActiveScans: uint32(s.Wait(ctx))}, nil
}

// Wait returns when no scan runs any more or ctx ends, with how many do.
func (s *Server) Wait(ctx context.Context) int {
	for {
		s.mu.Lock()
		scans, busy, changed := s.scans, s.scans+s.calls, s.changed
		s.mu.Unlock()
		if busy == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return scans
		}
	}
}

// stopAll cancels every run.
func (s *Server) stopAll(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		r.stop(reason, 0)
	}
}

// change makes a change and tells who waits for one.
func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.announce()
}

func (s *Server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}
