// Command wrong is a plugin for the tests of the conformance kit. It is good
// but for one thing, which its first argument names: the id of the check that
// must find it, and behind a slash which of several ways it is. It is built on
// the contract and not on the SDK, which would not let it be wrong.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
	"github.com/securetaghq/securetag/sdk/wire"
)

func main() {
	mode := "good"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	if mode == "idle" { // a child that is left behind
		time.Sleep(time.Minute)
		return
	}
	if os.Getenv(wire.MagicCookieKey) != wire.MagicCookieValue {
		byHand(mode)
	}
	beforeHandshake(mode)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Plugins(&scanner{mode: mode, runs: map[string]context.CancelCauseFunc{}}),
		Logger:          hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true, Level: hclog.Warn}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")}))...)
		},
	})
	if mode == "stop.shutdown" {
		select {}
	}
}

func byHand(mode string) {
	switch mode {
	case "start.cookie/silent":
		os.Exit(1)
	case "start.cookie/zero":
		fmt.Println("This is a plugin for the tests of the conformance kit.")
		os.Exit(0)
	case "start.cookie/panic":
		panic("no cookie in the environment")
	}
	fmt.Fprintln(os.Stderr, "This is a plugin for the tests of the conformance kit; a host starts it.")
	os.Exit(1)
}

func beforeHandshake(mode string) {
	switch mode {
	case "start.handshake/exit":
		fmt.Fprintln(os.Stderr, "the licence is missing")
		os.Exit(3)
	case "start.handshake/tcp":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc")
		select {}
	case "start.handshake/banner":
		fmt.Println("Welcome!")
		select {}
	case "stop.sigterm":
		signal.Ignore(syscall.SIGTERM)
	case "cancel.paused":
		go diesOfGaps()
	case "output.stderr/number":
		fmt.Fprintln(os.Stderr, `{"@level":"info","@message":1}`)
	case "output.stderr/bytes":
		fmt.Fprintln(os.Stderr, "caf\xe9")
	}
	if mode != "stop.host-death" {
		go watchParent(os.Getppid())
	}
}

func watchParent(ppid int) {
	for range time.Tick(20 * time.Millisecond) {
		if os.Getppid() != ppid {
			os.Exit(1)
		}
	}
}

// diesOfGaps ends the process when it did not run for a while.
func diesOfGaps() {
	last := time.Now()
	for now := range time.Tick(10 * time.Millisecond) {
		if now.Sub(last) > 300*time.Millisecond {
			os.Exit(7)
		}
		last = now
	}
}

// slots is how many scans it takes at once.
const slots = 2

type scanner struct {
	pluginv1.UnimplementedScannerServer
	mode string

	mu         sync.Mutex
	configured bool
	draining   bool
	runs       map[string]context.CancelCauseFunc
	active     int
	leaked     []*os.File
	idle       sync.WaitGroup // running scans
}

// is reports whether the plugin is wrong in this way.
func (s *scanner) is(mode string) bool { return s.mode == mode }

func (s *scanner) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := &pluginv1.DescribeResponse{
		Name: "wrong", Version: "1.2.3", Description: "Is wrong.", ApiVersions: []uint32{1},
		Consumes:           []pluginv1.Input{pluginv1.Input_INPUT_TREE, pluginv1.Input_INPUT_URL},
		Rules:              []*pluginv1.Rule{{Id: "aws-key", Title: "AWS key", Severity: pluginv1.Severity_SEVERITY_HIGH, HelpUri: "https://example.com/aws"}},
		ConfigSchema:       settings(),
		OptionsSchema:      &pluginv1.Block{Attributes: []*pluginv1.Attribute{{Name: "depth", Type: pluginv1.Attribute_TYPE_INT}}},
		MaxConcurrentScans: slots,
		Requirements:       &pluginv1.Requirements{SpawnsProcesses: s.is("stop.children")},
	}
	switch s.mode {
	case "describe.answer/hang":
		select {}
	case "describe.answer/error":
		return nil, status.Error(codes.FailedPrecondition, "configure first")
	case "describe.answer/crash":
		os.Exit(5)
	}
	s.misdescribe(d)
	return d, nil
}

func (s *scanner) misdescribe(d *pluginv1.DescribeResponse) {
	limit := d.ConfigSchema.Attributes[0]
	switch s.mode {
	case "describe.stable/call":
		d.Description = fmt.Sprint("Random: ", rand.Uint64())
	case "describe.stable/process":
		d.Vendor = fmt.Sprint("process ", os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
	case "describe.identity/name":
		d.Name = "Wrong Name"
	case "describe.identity/version":
		d.Version = "v1"
	case "describe.identity/api":
		d.ApiVersions = []uint32{2}
	case "describe.inputs/none":
		d.Consumes = nil
	case "describe.inputs/twice":
		d.Consumes = append(d.Consumes, d.Consumes[0])
	case "describe.rules/twice":
		d.Rules = append(d.Rules, d.Rules[0])
	case "describe.rules/title":
		d.Rules[0].Title = ""
	case "describe.rules/help":
		d.Rules[0].HelpUri = "javascript:alert(1)"
	case "describe.rules/many":
		for i := range 10_000 {
			d.Rules = append(d.Rules, &pluginv1.Rule{Id: fmt.Sprint("r", i), Title: "A rule"})
		}
	case "describe.schema/default":
		limit.DefaultJson = "1000"
	case "describe.schema/json":
		limit.DefaultJson = "ten"
	case "describe.schema/name":
		d.OptionsSchema.Attributes[0].Name = "Depth of Search"
	case "describe.schema/pattern":
		d.OptionsSchema.Attributes = append(d.OptionsSchema.Attributes, &pluginv1.Attribute{Name: "glob", Type: pluginv1.Attribute_TYPE_STRING, Pattern: "("})
	case "describe.schema/twice":
		d.ConfigSchema.Attributes = append(d.ConfigSchema.Attributes, limit)
	case "output.stdout":
		_, _ = syscall.Write(1, []byte("describing\n"))
	}
}

func (s *scanner) Health(req *pluginv1.HealthRequest, out grpc.ServerStreamingServer[pluginv1.HealthUpdate]) error {
	if s.is("health.first/late") {
		<-out.Context().Done()
		return out.Context().Err()
	}
	tick := time.NewTicker(max(req.GetInterval().AsDuration(), 50*time.Millisecond))
	defer tick.Stop()
	for {
		s.mu.Lock()
		u := &pluginv1.HealthUpdate{State: pluginv1.HealthUpdate_STATE_HEALTHY, ActiveScans: uint32(s.active)}
		s.mu.Unlock()
		if s.is("health.first/state") {
			u.State = 0
		}
		if err := out.Send(u); err != nil {
			return err
		}
		if s.is("health.first/once") {
			tick.Stop()
		}
		select {
		case <-tick.C:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

func (s *scanner) Cancel(_ context.Context, req *pluginv1.CancelRequest) (*pluginv1.CancelResponse, error) {
	s.mu.Lock()
	cancel := s.runs[req.GetRunId()]
	s.mu.Unlock()
	if cancel == nil {
		switch s.mode {
		case "cancel.unknown/known":
			return &pluginv1.CancelResponse{Known: strings.HasSuffix(req.GetRunId(), "no-such-run")}, nil
		case "cancel.unknown/error":
			return nil, status.Error(codes.NotFound, "no such run")
		}
		return &pluginv1.CancelResponse{}, nil
	}
	switch s.mode {
	case "cancel.running/ignores", "cancel.running/hangs":
	case "cancel.running/unimplemented":
		return nil, status.Error(codes.Unimplemented, "not yet")
	default:
		cancel(errCancelled)
	}
	return &pluginv1.CancelResponse{Known: true}, nil
}

func (s *scanner) Drain(context.Context, *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	if !s.is("cancel.drain/takes") {
		s.mu.Lock()
		s.draining = true
		s.mu.Unlock()
	}
	s.idle.Wait()
	if s.is("cancel.drain/left") {
		return &pluginv1.DrainResponse{ActiveScans: 1}, nil
	}
	return &pluginv1.DrainResponse{}, nil
}
