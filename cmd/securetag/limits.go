package main

import (
	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/ratelimit"
)

// openLimiter makes what counts requests: with the other hosts, and alone while
// Redis is away.
func (n *node) openLimiter(shared host.RateLimiter) (host.RateLimiter, error) {
	return ratelimit.New(shared, ratelimit.Config{Hosts: n.cfg.Server.APIHosts}, n.meter, n.log.Named("rates"))
}

// apiLimits is what holds before it is known whose a request is.
func apiLimits(cfg config.Config) api.Limits {
	s := cfg.Server
	l := api.Limits{AddressRate: host.Rate(s.AddressRate), Proxies: api.Proxies{Header: s.ProxyHeader}}
	for _, text := range s.TrustedProxies {
		if p, err := config.ParseNetwork(text); err == nil { // config has checked it
			l.Proxies.Trusted = append(l.Proxies.Trusted, p)
		}
	}
	return l
}

// unlimitedRates is a configuration in which nobody waits for his own requests.
func unlimitedRates(cfg config.Config) config.Config {
	plans := map[string]config.Plan{}
	for name, p := range cfg.Plans {
		p.RequestRate, p.UploadRate = config.Rate{}, config.Rate{}
		plans[name] = p
	}
	cfg.Plans, cfg.Server.AddressRate = plans, config.Rate{}
	return cfg
}
