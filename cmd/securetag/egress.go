package main

import (
	"fmt"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/egress"
	"github.com/securetaghq/securetag/host/webhook"
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
	return err
}

// openWebhooks makes what delivers to webhooks, on a host that runs jobs.
func (n *node) openWebhooks(version string) (err error) {
	n.deliverer, err = webhook.New(n.store, n.guard.Transport(), webhook.Config{
		Owner: n.owner, UserAgent: "SecureTag-Webhooks/" + version, Meter: n.meter,
	}, n.log)
	return err
}
