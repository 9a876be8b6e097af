package main

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/sdk/egress"
)

// TestOwnAddresses: neither a webhook, nor a proof of a target, nor a plugin's way
// out leads to this host because a network that has it is allowed. The loopback
// stands for every interface, as all machines have it.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	for network, open := range map[string]bool{"64.0.0.0/2": false, "127.0.0.0/8": true, "127.0.0.1": true} {
		var cfg config.Config
		cfg.Egress.AllowNetworks, cfg.Egress.Ports = []string{network}, []string{"1"} // at which nobody listens
		guard, err := openGuard(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n := &node{guard: guard}
		if err := n.checkTarget("https://127.0.0.1:1/hook"); (err == nil) != open || !open && !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: the URL of a webhook: %v", network, err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:1/.well-known/securetag-challenge.txt", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := (guarded{guard.Transport()}).RoundTrip(req); err == nil || errors.Is(err, host.ErrInvalid) == open {
			t.Errorf("%s: a proof, and what a webhook is sent: %v, %v", network, resp, err)
		}
		way, err := egressOf(config.Plugin{Network: "egress", EgressNetworks: []string{network}, EgressPorts: []string{"1"}})
		if err != nil {
			t.Fatal(err)
		}
		proxied, err := egress.New(way.Rules)
		if err != nil {
			t.Fatal(err)
		}
		var refused *egress.Refused
		if err := proxied.CheckAddr(netip.MustParseAddr("127.0.0.1")); (err == nil) != open || !open && (!errors.As(err, &refused) || refused.Rule != egress.RuleOwn) {
			t.Errorf("%s: a plugin's way out: %v", network, err)
		}
	}
}
