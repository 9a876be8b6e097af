package executor

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/executor/sandbox"
	"github.com/securetaghq/securetag/sdk/egress"
)

// holdsEgress is nil when processes of a plugin with Egress have no other way out
// on this machine, and else says why they have.
func (e *Executor) holdsEgress(p Plugin) error {
	switch {
	case p.Egress == nil:
		return nil
	case p.Sandbox == Unconfined:
		return errors.New("it is not confined")
	}
	s := e.cfg.Sandbox.Support()
	if s.Has(sandbox.LayerEgress) {
		return nil
	}
	return fmt.Errorf("this machine cannot give it a network of its own with nothing but the host's proxy (egress: %s): allow user namespaces to this host, or accept that it has the host's network with sandbox = \"best_effort\" (docs/operating.md, Egress)",
		s.Missing[sandbox.LayerEgress])
}

// networkOf says for Containment what network a plugin with Egress has.
func (e *Executor) networkOf(p Plugin) string {
	switch err := e.holdsEgress(p); {
	case p.Egress == nil, err != nil && p.Sandbox == Required: // it is not started
		return ""
	case err != nil:
		return "; does not hold: egress, it has the host's network"
	}
	return "; network through the host's proxy alone"
}

// tellEgress logs which plugins have the host's network although they should
// not, once.
func (e *Executor) tellEgress() {
	for _, p := range e.cfg.Plugins {
		if err := e.holdsEgress(p); err != nil && p.Sandbox != Required && p.Attach == nil {
			e.log.Warn("a plugin has the host's whole network, and keeps to its rules by itself", "plugin", p.Name, "why", err)
		}
	}
}

// openExit makes the process's way out, and serves its socket. The listener on
// its loopback comes when it is started.
func (e *Executor) openExit(c *cell, proc *process) (err error) {
	c.exit, err = proxy.Open(*proc.plugin.Egress, e.tallies[proc.plugin.Name], proc.log.Named("egress"))
	if err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.egressSocket(), Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for what it calls: %w", err)
	}
	l.SetUnlinkOnClose(false) // by then it may be anything of the plugin's; it goes with the directory
	c.exit.Serve(l)
	return c.jail.Own(c.egressSocket())
}

func (c *cell) egressSocket() string { return filepath.Join(c.dir, "egress") }

// wayOut names the way out to whatever runs in the process: what an operator says
// of proxies is no good there. It is called on a nil cell too.
func (c *cell) wayOut(env []string) []string {
	if c == nil || c.exit == nil {
		return env
	}
	const at = "http://" + sandbox.EgressAddr
	return slices.Concat(env, []string{
		"HTTP_PROXY=" + at, "HTTPS_PROXY=" + at, "ALL_PROXY=" + at, "NO_PROXY=",
		"http_proxy=" + at, "https_proxy=" + at, "all_proxy=" + at, "no_proxy=",
		egress.SocketVar + "=" + c.egressSocket(),
	})
}

// watchEgress keeps a job to the hosts that it may call, and counts what it sends
// through the proxy. At its end that is in the log, and nothing of it is open any
// more.
func (p *process) watchEgress(t host.Task) (done func()) {
	if p.cell.exit == nil {
		return func() {}
	}
	end := p.cell.exit.Begin(t.PermittedHosts)
	return func() {
		u := end()
		if u == (proxy.Usage{}) {
			return
		}
		p.log.Info("network used by a job", "scan", string(t.Scan), "job", string(t.Job), "tenant", string(t.Tenant),
			"connections", u.Connections, "refused", u.Refused, "sent", u.Sent, "received", u.Received)
	}
}
