package main

import (
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// caps gives what the configuration lets run at once.
func caps(cfg config.Config) host.Caps {
	c := host.Caps{Tenant: cfg.Limits.TenantConcurrency, Plugins: map[string]int{}, ScanTypes: map[string]int{}}
	for name, p := range cfg.Plugins {
		c.Plugins[name] = p.Concurrency
	}
	for name, s := range cfg.Scans {
		c.ScanTypes[name] = s.Concurrency
	}
	return c
}
