package sdk

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
	go watchParent(os.Getppid(), func() {
		log.Warn("the host is gone, stopping")
		srv.stopAll("the host is gone")
		waitFor(srv, stopGrace)
		os.Exit(exitFailed)
	})
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         wire.Plugins(srv),
		Logger:          log.Named("go-plugin"),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxPluginRecv))...)
		},
	})
	srv.stopAll("the host stopped the plugin")
	waitFor(srv, stopGrace)
	return 0
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
