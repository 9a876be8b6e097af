package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/securetaghq/securetag/sdk/wire"
)

// serveAttached serves until ctx ends or the host asks it to stop, and prints
// what a host needs to attach. No host started this process, so that it may run
// under a debugger, and nothing ends it but its author.
func (s *Server) serveAttached(ctx context.Context, log hclog.Logger, stdout, stderr io.Writer) int {
	started, ended := make(chan *plugin.ReattachConfig, 1), make(chan struct{})
	go func() {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: wire.Handshake(),
			Plugins:         wire.Plugins(s),
			Logger:          hclog.NewNullLogger(), // what it says is for who started a plugin
			GRPCServer:      func(opts []grpc.ServerOption) *grpc.Server { return newGRPC(opts) },
			Test:            &plugin.ServeTestConfig{Context: ctx, ReattachConfigCh: started, CloseCh: ended},
		})
	}()
	select {
	case at := <-started:
		value, err := json.Marshal(map[string]wire.Reattach{s.describe.GetName(): {
			Network: at.Addr.Network(), Address: at.Addr.String(), PID: os.Getpid(),
		}})
		if err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		fmt.Fprintf(stdout, "%s='%s'\n", wire.ReattachKey, value)
		fmt.Fprintf(stderr, "Start the host with this in its environment, and the plugin's block with dev = true.\nIt attaches to this process (pid %d) instead of starting one. Interrupt to stop.\n", os.Getpid())
		log.Info("serving", "address", at.Addr.String())
	case <-ended:
		fmt.Fprintln(stderr, "could not serve: is TMPDIR too long for a socket, or not writable?")
		return exitFailed
	}
	<-ended
	s.stopAll("the plugin was stopped by hand")
	waitFor(s, stopGrace) //nolint:contextcheck // ctx has ended; this is the clean-up
	return exitClean
}
