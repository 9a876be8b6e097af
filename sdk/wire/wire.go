// Package wire is the little that host and plugin must agree on before the
// contract (package pluginv1) speaks: the handshake of go-plugin, the name the
// service is dispensed under, and the glue that serves and dials it. Plugin
// authors use package sdk instead.
package wire

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// The handshake. The cookie is no secret: it tells a plugin that a host has
// started it, and not a person.
const (
	ProtocolVersion  = 1
	MagicCookieKey   = "SECURETAG_PLUGIN"
	MagicCookieValue = "be6ae1cdf1b24a1c9b36ea3d0d3b33f2"
)

// PluginName is what a host dispenses.
const PluginName = "scanner"

// Limits of one message, in bytes.
const (
	// MaxEvent is the most a plugin sends in one ScanEvent.
	MaxEvent = 1 << 20
	// MaxHostRecv is the most a host receives in one message.
	MaxHostRecv = 4 << 20
	// MaxPluginRecv is the most a plugin receives in one message: a request
	// carries settings and options, never a target.
	MaxPluginRecv = 16 << 20
)

// Handshake is what both sides give to go-plugin.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   MagicCookieKey,
		MagicCookieValue: MagicCookieValue,
	}
}

// Plugin serves or dials securetag.plugin.v1.Scanner. A host leaves Impl nil
// and dispenses a pluginv1.ScannerClient.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Impl pluginv1.ScannerServer
}

var _ plugin.GRPCPlugin = (*Plugin)(nil)

// GRPCServer registers Impl.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.Impl == nil {
		return errors.New("wire: no scanner to serve")
	}
	pluginv1.RegisterScannerServer(s, p.Impl)
	return nil
}

// GRPCClient returns a pluginv1.ScannerClient.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return pluginv1.NewScannerClient(c), nil
}

// Plugins is the set with the one entry that hosts and plugins know.
func Plugins(impl pluginv1.ScannerServer) plugin.PluginSet {
	return plugin.PluginSet{PluginName: &Plugin{Impl: impl}}
}

// ReattachKey names the environment variable by which a host finds plugins that
// somebody started by hand: a JSON object from plugin name to Reattach.
const ReattachKey = "SECURETAG_REATTACH"

// Reattach is where a plugin that was started with --debug listens, without TLS.
type Reattach struct {
	Network string `json:"network"` // "unix"
	Address string `json:"address"` // absolute path of the socket
	PID     int    `json:"pid"`
}
