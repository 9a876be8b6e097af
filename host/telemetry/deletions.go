package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/securetaghq/securetag/host"
)

// deletions says what tenants deleted and is not removed yet, over all hosts. It is
// asked, and is silent while the store is, as [queue] is.
type deletions struct {
	pending func(context.Context) (host.PendingDeletions, error)
	timeout time.Duration
	count   *prometheus.Desc
	scans   *prometheus.Desc
	oldest  *prometheus.Desc

	mu    sync.Mutex // held while it asks, so that one scrape asks for all
	asked time.Time
	last  []prometheus.Metric
}

func newDeletions(pending func(context.Context) (host.PendingDeletions, error), timeout time.Duration) *deletions {
	return &deletions{
		pending: pending, timeout: timeout,
		count:  prometheus.NewDesc("securetag_deletions_pending", "Deletions of all tenants that are not done.", nil, nil),
		scans:  prometheus.NewDesc("securetag_deletions_pending_scans", "Scans that were deleted and are not removed yet.", nil, nil),
		oldest: prometheus.NewDesc("securetag_deletions_oldest_seconds", "For how long the oldest deletion has been going on; 0: none is.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (d *deletions) Describe(out chan<- *prometheus.Desc) {
	out <- d.count
	out <- d.scans
	out <- d.oldest
}

// Collect implements prometheus.Collector, which has no context.
func (d *deletions) Collect(out chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked.IsZero() || time.Since(d.asked) >= queueAge {
		ctx, cancel := context.WithTimeout(context.Background(), d.timeout) // a scrape gives none
		defer cancel()
		d.last = nil
		if p, err := d.pending(ctx); err == nil {
			gauge := func(desc *prometheus.Desc, v float64) prometheus.Metric {
				return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
			}
			d.last = []prometheus.Metric{gauge(d.count, float64(p.Deletions)), gauge(d.scans, float64(p.Scans)), gauge(d.oldest, p.Oldest.Seconds())}
		}
		d.asked = time.Now()
	}
	for _, m := range d.last {
		out <- m
	}
}
