package main

import (
	"context"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host/executor"
)

// learn has every plugin say once what it is, when the host starts and when its
// plugins change, without waiting for a job of it. A host that runs no plugins reads
// in data_dir/descriptions which of their options are secret: until it is there, it
// takes such an option for an ordinary one, and shows it. It returns when ctx ends.
func (n *node) learn(ctx context.Context) {
	for {
		n.learnAll(ctx, n.live.config())
		select {
		case <-ctx.Done():
			return
		case <-n.changed:
		}
	}
}

// learnAll leaves out those that are started without a job, and those in
// development, of which nothing is kept: their program may be another one the next
// time. One that cannot be started is in the log, and in the plugins' status.
func (n *node) learnAll(ctx context.Context, cfg config.Config) {
	for _, p := range executorConfig(cfg, "", "").Plugins {
		if p.Dev || p.Standby > 0 || p.Isolation == executor.Shared || ctx.Err() != nil {
			continue
		}
		n.executor.SecretOptions(ctx, p.Name)
	}
}

// relearn makes learn begin again. It does not block.
func (n *node) relearn() {
	select {
	case n.changed <- struct{}{}:
	default: // it will anyway
	}
}
