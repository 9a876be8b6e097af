package sdk

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/securetaghq/securetag/sdk/wire"
)

const (
	stopGrace   = 1500 * time.Millisecond // go-plugin's host kills after 2 s
	parentCheck = time.Second
)

// Main is all that a plugin's main does. Started by a host it serves until the
// host stops it or dies; run by hand it explains itself, and can describe and
// run the scanner. It does not return.
func Main[C any](s Scanner[C]) {
	useMemory()
	if os.Getenv(wire.MagicCookieKey) == wire.MagicCookieValue {
		os.Exit(serve(s))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Execute(ctx, s, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func serve[C any](s Scanner[C]) int {
	// go-plugin puts pipes in the place of os.Stdout and os.Stderr; the log
	// keeps the real one, which the host reads.
	log := hclog.New(&hclog.LoggerOptions{Name: s.Name, Level: hclog.Debug, Output: os.Stderr, JSONFormat: true})
	srv, err := NewServer(s, log)
	if err != nil {
		fmt.Fprintln(os.Stderr, "this plugin is not well-formed; tell its author:", oneLine(err.Error(), maxMessage))
		return exitUsage
	}
	stop := func(why string) {
		log.Warn(why + ", stopping")
		srv.stopAll(why)
		waitFor(srv, stopGrace)
		os.Exit(exitFailed)
	}
	go watchParent(os.Getppid(), func() { stop("the host is gone") })
	// go-plugin takes SIGINT, which a terminal sends to the whole group, and
	// leaves SIGTERM, which would end the process in the middle of a scan.
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		stop("the plugin was asked to terminate")
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Plugins(srv),
		Logger:          log.Named("go-plugin"),
		GRPCServer:      func(opts []grpc.ServerOption) *grpc.Server { return newGRPC(append(opts, printsTo(os.Stderr)...)) },
	})
	srv.stopAll("the host stopped the plugin")
	waitFor(srv, stopGrace)
	return 0
}

// newGRPC makes a server that takes messages as large as the contract says,
// where gRPC's own limit is 4 MiB.
func newGRPC(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxPluginRecv))...)
}

// printsTo puts standard error in the place of os.Stdout and os.Stderr with the
// first call. go-plugin had put pipes there, whose other end a host throws
// away: what an author prints would vanish. Standard output itself is the
// handshake's, and a host reads one line of it.
func printsTo(stderr *os.File) []grpc.ServerOption {
	var once sync.Once
	restore := func() { once.Do(func() { os.Stdout, os.Stderr = stderr, stderr }) }
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			restore()
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			restore()
			return next(srv, stream)
		}),
	}
}

func waitFor(srv *Server, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	srv.Wait(ctx)
}

// watchParent calls gone when the process has another parent than ppid: its
// own has died, and nothing else would tell. It ends with the process.
func watchParent(ppid int, gone func()) {
	for range time.Tick(parentCheck) {
		if os.Getppid() != ppid {
			gone()
			return
		}
	}
}
