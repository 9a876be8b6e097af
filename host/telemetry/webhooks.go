package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/securetaghq/securetag/host"
)

// webhookMeter holds the series of what this host delivered to webhooks.
type webhookMeter map[host.DeliveryState]prometheus.Counter

func (f factory) webhooks() webhookMeter {
	all := f.counters("securetag_webhook_attempts_total", "Attempts to deliver to a webhook, by what became of the delivery.", "result")
	return webhookMeter{
		host.DeliveryDelivered: all.WithLabelValues("delivered"),
		host.DeliveryPending:   all.WithLabelValues("again"),
		host.DeliveryFailed:    all.WithLabelValues("failed"),
	}
}

// WebhookTried implements host.Meter.
func (m *Meter) WebhookTried(s host.DeliveryState) {
	if c := m.webhooks[s]; c != nil {
		c.Inc()
	}
}

// outbox says how much is to be delivered, over all hosts, as queue does for
// jobs.
type outbox struct {
	stats           func(context.Context) (host.OutboxStats, error)
	timeout         time.Duration
	pending, oldest *prometheus.Desc

	mu    sync.Mutex // held while it asks
	asked time.Time
	last  []prometheus.Metric
}

func newOutbox(stats func(context.Context) (host.OutboxStats, error), timeout time.Duration) *outbox {
	return &outbox{
		stats: stats, timeout: timeout,
		pending: prometheus.NewDesc("securetag_webhook_deliveries_pending", "Deliveries to webhooks that wait or are under way, of all hosts.", nil, nil),
		oldest:  prometheus.NewDesc("securetag_webhook_oldest_due_seconds", "For how long the oldest of them has been due; 0: none is.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (o *outbox) Describe(out chan<- *prometheus.Desc) { out <- o.pending; out <- o.oldest }

// Collect implements prometheus.Collector, which has no context.
func (o *outbox) Collect(out chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked.IsZero() || time.Since(o.asked) >= queueAge {
		ctx, cancel := context.WithTimeout(context.Background(), o.timeout) // a scrape gives none
		defer cancel()
		o.last = nil
		if s, err := o.stats(ctx); err == nil {
			o.last = []prometheus.Metric{
				prometheus.MustNewConstMetric(o.pending, prometheus.GaugeValue, float64(s.Pending)),
				prometheus.MustNewConstMetric(o.oldest, prometheus.GaugeValue, s.Oldest.Seconds()),
			}
		}
		o.asked = time.Now()
	}
	for _, m := range o.last {
		out <- m
	}
}
