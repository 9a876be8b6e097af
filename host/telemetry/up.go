package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// up says whether a server answers. It asks when it is scraped, and not again
// within age: a scraper must not be a load.
type up struct {
	desc    *prometheus.Desc
	check   func(context.Context) error
	timeout time.Duration
	age     time.Duration

	mu    sync.Mutex // held while it asks, so that one scrape asks for all
	asked time.Time
	value float64
}

func newUp(name string, check func(context.Context) error, timeout, age time.Duration) *up {
	return &up{
		desc:  prometheus.NewDesc("securetag_up", "Whether a server that this host needs answers.", nil, prometheus.Labels{"server": name}),
		check: check, timeout: timeout, age: age,
	}
}

// Describe implements prometheus.Collector.
func (u *up) Describe(out chan<- *prometheus.Desc) { out <- u.desc }

// Collect implements prometheus.Collector, which has no context.
func (u *up) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, u.ask())
}

func (u *up) ask() float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.asked.IsZero() && time.Since(u.asked) < u.age {
		return u.value
	}
	ctx, cancel := context.WithTimeout(context.Background(), u.timeout) // a scrape gives none
	defer cancel()
	u.value = 0
	if u.check(ctx) == nil {
		u.value = 1
	}
	u.asked = time.Now()
	return u.value
}
