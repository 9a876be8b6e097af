package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/telemetry"
)

// metrics is what a host counts and where it shows it.
type metrics struct {
	meter    *telemetry.Meter
	listener net.Listener
}

// openMetrics makes the meter that everything else is given: one that counts
// nothing when nobody listens.
func (n *node) openMetrics(queue host.Doorbells, slots int, version string) error {
	n.meter = host.NoMeter{}
	address := n.cfg.Telemetry.MetricsListen
	if address == "" {
		return nil
	}
	var status func() []host.PluginStatus
	if n.runsJobs() {
		status = hostPlugins{n}.Status
	}
	meter, err := telemetry.New(telemetry.Config{
		Queue: n.store.QueueStats, Deletions: n.store.PendingDeletions, Outbox: n.store.OutboxStats,
		Version: version, PluginStatus: status, Plugins: slices.Sorted(maps.Keys(n.cfg.Plugins)), Slots: slots, Layers: n.layers(),
		Checks: map[string]func(context.Context) error{"database": n.store.Ping, "queue": queue.Ping},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	n.onClose(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	n.meter, n.metrics = meter, &metrics{meter, l}
	return nil
}

// serve serves them until ctx ends; without any it does nothing.
func (m *metrics) serve(ctx context.Context, log hclog.Logger) error {
	if m == nil {
		return nil
	}
	log.Info("serving metrics", "url", "http://"+m.listener.Addr().String()+"/metrics")
	return m.meter.Serve(ctx, m.listener, log.Named("metrics"))
}
