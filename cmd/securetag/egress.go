package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/host/permission"
	"github.com/securetaghq/securetag/host/webhook"
	"github.com/securetaghq/securetag/sdk/egress"
)

// openGuard makes what decides which addresses are called for tenants.
func openGuard(cfg config.Config) (*egress.Guard, error) {
	ec, err := reachable(cfg.Egress.AllowNetworks, cfg.Egress.Ports)
	if err != nil {
		return nil, fmt.Errorf("read the block egress: %w", err)
	}
	return egress.New(ec)
}

// reachable reads networks and ports, which the configuration has checked.
func reachable(networks, ports []string) (ec egress.Config, err error) {
	for _, s := range networks {
		p, err := egress.ParseNetwork(s)
		if err != nil {
			return ec, err
		}
		ec.Allow = append(ec.Allow, p)
	}
	for _, s := range ports {
		p, err := egress.ParsePorts(s)
		if err != nil {
			return ec, err
		}
		ec.Ports = append(ec.Ports, p)
	}
	return ec, nil
}

// egressOf is what a plugin may call through the host's proxy; nil: there is none.
func egressOf(p config.Plugin) (*proxy.Config, error) {
	if p.Network != "egress" {
		return nil, nil
	}
	rules, err := reachable(p.EgressNetworks, p.EgressPorts)
	if err != nil {
		return nil, fmt.Errorf("read what it may call: %w", err)
	}
	for _, s := range p.EgressHosts {
		h, err := egress.ParseHost(s)
		if err != nil {
			return nil, fmt.Errorf("read egress_hosts: %w", err)
		}
		rules.Hosts = append(rules.Hosts, h)
	}
	rules.Literals = p.EgressLiterals
	return &proxy.Config{Rules: rules, Bytes: int64(p.Limits.EgressBytes)}, nil
}

// checkTarget is what the API asks before it takes the URL of a webhook.
func (n *node) checkTarget(url string) error {
	_, err := n.guard.ParseURL(url)
	return refusal(err)
}

// openWebhooks makes what delivers to webhooks, on a host that runs jobs.
func (n *node) openWebhooks(version string) (err error) {
	n.deliverer, err = webhook.New(n.store, guarded{n.guard.Transport()}, webhook.Config{
		Owner: n.owner, UserAgent: "SecureTag-Webhooks/" + version, Meter: n.meter,
	}, n.log)
	return err
}

// openPermission makes what decides which hosts a tenant may have scanned.
func (n *node) openPermission(version string) {
	n.permission = permission.New(n.store, n.plans, net.DefaultResolver, guarded{n.guard.Transport()}, permission.Config{
		Times: func() (life, recheck time.Duration) {
			t := n.live.config().Targets
			return t.ProofLife, t.Recheck
		},
		UserAgent: "SecureTag-Targets/" + version,
	}, n.log)
}

// permit is what intake asks before it takes a URL.
func (n *node) permit(ctx context.Context, t host.TenantID, url string) error {
	_, err := n.permission.Hosts(ctx, t, url)
	return err
}

// guarded says in the host's words that the guard refuses a target.
type guarded struct{ http.RoundTripper }

// RoundTrip wraps host.ErrInvalid when the target may not be called.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.RoundTripper.RoundTrip(r)
	return resp, refusal(err)
}

// refusal wraps host.ErrInvalid around what the guard refuses.
func refusal(err error) error {
	if errors.Is(err, egress.ErrRefused) {
		return &invalid{err}
	}
	return err
}

type invalid struct{ err error }

func (i *invalid) Error() string   { return i.err.Error() }
func (i *invalid) Unwrap() []error { return []error{i.err, host.ErrInvalid} }
