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
	"github.com/securetaghq/securetag/host/permission"
	"github.com/securetaghq/securetag/host/webhook"
	"github.com/securetaghq/securetag/sdk/egress"
)

// openGuard makes what decides which addresses are called for tenants.
func openGuard(cfg config.Config) (*egress.Guard, error) {
	var ec egress.Config
	for _, s := range cfg.Egress.AllowNetworks {
		p, err := config.ParseNetwork(s)
		if err != nil { // the configuration was checked
			return nil, fmt.Errorf("read egress.allow_networks: %w", err)
		}
		ec.Allow = append(ec.Allow, p)
	}
	for _, s := range cfg.Egress.Ports {
		first, last, err := config.ParsePorts(s)
		if err != nil {
			return nil, fmt.Errorf("read egress.ports: %w", err)
		}
		ec.Ports = append(ec.Ports, egress.Ports{First: first, Last: last})
	}
	return egress.New(ec)
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
