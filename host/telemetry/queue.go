package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/securetaghq/securetag/host"
)

// queueAge is how long the counts of the queue count. Counting costs what the
// backlog does, so neither one scraper nor many may ask more often.
const queueAge = 15 * time.Second

// queue says how much waits, over all hosts: any of them may be scraped for it.
// While the store does not answer there are no such series, rather than old
// ones.
type queue struct {
	plugins map[string]*pluginMeter // that are configured: others count as "other"
	stats   func(context.Context) (host.QueueStats, error)
	timeout time.Duration
	jobs    *prometheus.Desc
	oldest  *prometheus.Desc

	mu    sync.Mutex // held while it asks, so that one scrape asks for all
	asked time.Time
	last  []prometheus.Metric
}

func newQueue(stats func(context.Context) (host.QueueStats, error), plugins map[string]*pluginMeter, timeout time.Duration) *queue {
	return &queue{
		plugins: plugins, stats: stats, timeout: timeout,
		jobs: prometheus.NewDesc("securetag_queue_jobs",
			"Jobs in the queue of all hosts, and dead letters, by what they wait for.", []string{"plugin", "state"}, nil),
		oldest: prometheus.NewDesc("securetag_queue_oldest_ready_seconds",
			"For how long the oldest job that could run has been waiting; 0: none waits.", []string{"plugin"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (q *queue) Describe(out chan<- *prometheus.Desc) { out <- q.jobs; out <- q.oldest }

// Collect implements prometheus.Collector, which has no context.
func (q *queue) Collect(out chan<- prometheus.Metric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked.IsZero() || time.Since(q.asked) >= queueAge {
		ctx, cancel := context.WithTimeout(context.Background(), q.timeout) // a scrape gives none
		defer cancel()
		q.last = nil
		if stats, err := q.stats(ctx); err == nil {
			q.last = q.metrics(stats)
		}
		q.asked = time.Now()
	}
	for _, m := range q.last {
		out <- m
	}
}

// metrics has a series of every plugin that is configured, so that an empty
// queue is a 0 and not a gap.
func (q *queue) metrics(stats host.QueueStats) (out []prometheus.Metric) {
	sums := map[string][]host.QueueGroup{}
	for _, g := range stats.Groups {
		name := g.Plugin
		if q.plugins[name] == nil {
			name = other
		}
		sums[name] = append(sums[name], g)
	}
	for name := range q.plugins {
		sum := host.QueueStats{Groups: sums[name]}.Total()
		for state, n := range map[string]int{"ready": sum.Ready, "waiting": sum.Waiting, "out": sum.Out, "running": sum.Running, "dead": sum.Dead} {
			out = append(out, prometheus.MustNewConstMetric(q.jobs, prometheus.GaugeValue, float64(n), name, state))
		}
		out = append(out, prometheus.MustNewConstMetric(q.oldest, prometheus.GaugeValue, sum.OldestReady.Seconds(), name))
	}
	return out
}
