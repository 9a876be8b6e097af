package telemetry

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/securetaghq/securetag/host"
)

// Config says what there is to count. All fields but CheckTime are required,
// where nil and "" mean none.
type Config struct {
	Version string
	Plugins []string // configured: others count as "other"
	Slots   int      // jobs that this host runs at once
	// PluginStatus says how the plugins do; nil: this host starts none.
	PluginStatus func() []host.PluginStatus
	// Checks says by name which servers the host needs, and asks one. They are
	// asked when somebody scrapes, each at most every CheckAge.
	Checks map[string]func(ctx context.Context) error
	// CheckTime is how long an answer may take; default 2s.
	CheckTime time.Duration
	// CheckAge is how long an answer counts; default 5s.
	CheckAge time.Duration
	Layers   map[string]bool // of the sandbox: whether this machine gives them
	// Queue counts the queue of all hosts. It is asked as Checks are, at most
	// every 15s; nil: this host does not say.
	Queue func(ctx context.Context) (host.QueueStats, error)
	// Deletions counts those of all hosts, and is asked as Queue is; nil: this host
	// does not say.
	Deletions func(ctx context.Context) (host.PendingDeletions, error)
	// Outbox does the same for deliveries to webhooks; nil: this host does not say.
	Outbox func(ctx context.Context) (host.OutboxStats, error)
}

// other is the label of what no configuration names.
const other = "other"

// Meter is a host.Meter that can be scraped.
type Meter struct {
	registry *prometheus.Registry
	plugins  map[string]*pluginMeter // other among them; not written after New
	busy     prometheus.Gauge
	expired  prometheus.Counter
	rung     prometheus.Counter
	heard    prometheus.Counter
	dropped  prometheus.Counter
	requests *prometheus.CounterVec
	answers  *prometheus.HistogramVec
	sweeps   sweepMeter
	limited  *prometheus.CounterVec
	alone    prometheus.Gauge
	reloads  reloadMeter
	webhooks webhookMeter
}

var _ host.Meter = (*Meter)(nil)

// pluginMeter holds the series of one plugin.
type pluginMeter struct {
	claimed, retried, lost prometheus.Counter
	ended                  map[host.State]prometheus.Counter
	failed                 map[host.ErrorCode]prometheus.Counter // by code, other under ""
	running                prometheus.Gauge
	waited, ran            prometheus.Observer
}

// New makes a meter with a registry of its own.
func New(cfg Config) (*Meter, error) {
	if cfg.CheckTime == 0 {
		cfg.CheckTime = 2 * time.Second
	}
	if cfg.CheckAge == 0 {
		cfg.CheckAge = 5 * time.Second
	}
	if cfg.Slots < 0 || cfg.CheckTime < 0 || cfg.CheckAge < 0 {
		return nil, fmt.Errorf("telemetry: no setting may be negative: %w", host.ErrInvalid)
	}
	m := &Meter{registry: prometheus.NewRegistry()}
	f := factory{m.registry}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f.gauges("securetag_build_info", "Always 1; the labels say what runs.", "version", "go").
		WithLabelValues(cfg.Version, runtime.Version()).Set(1)
	f.gauge("securetag_slots", "Jobs that this host runs at once.").Set(float64(cfg.Slots))
	layers := f.gauges("securetag_sandbox_layer", "1 where this machine gives that layer of the sandbox of plugins.", "layer")
	for name, given := range cfg.Layers {
		if layer := layers.WithLabelValues(name); given {
			layer.Set(1)
		}
	}
	m.busy = f.gauge("securetag_slots_busy", "Jobs that this host runs now.")
	m.expired = f.counter("securetag_leases_expired_total", "Jobs that this host took back from hosts that had stopped renewing their lease.")
	m.rung = f.counter("securetag_doorbells_rung_total", "Doorbells that this host rang.")
	m.heard = f.counter("securetag_doorbells_heard_total", "Doorbells that this host heard.")
	m.dropped = f.counter("securetag_events_dropped_total", "Live events that this host dropped, because Redis was down or slower than the jobs.")
	m.requests = f.counters("securetag_http_requests_total", "Requests that were answered, by route and class of the status.", "route", "status")
	m.answers = f.histograms("securetag_http_request_seconds", "Time from a request's first byte to the end of its answer.", requestBuckets, "route")
	m.plugins = f.plugins(cfg.Plugins)
	m.sweeps = f.sweeps()
	m.limited = f.counters("securetag_rate_limited_total", "Requests that were refused because of a rate, by its policy.", "policy")
	m.alone = f.gauge("securetag_rate_limits_alone", "1 while this host counts rates by itself, because Redis does not answer.")
	m.reloads = f.reloads()
	m.webhooks = f.webhooks()
	if cfg.PluginStatus != nil {
		m.registry.MustRegister(newPlugins(cfg.PluginStatus))
	}
	if cfg.Queue != nil {
		m.registry.MustRegister(newQueue(cfg.Queue, m.plugins, cfg.CheckTime))
	}
	if cfg.Deletions != nil {
		m.registry.MustRegister(newDeletions(cfg.Deletions, cfg.CheckTime))
	}
	if cfg.Outbox != nil {
		m.registry.MustRegister(newOutbox(cfg.Outbox, cfg.CheckTime))
	}
	for name, check := range cfg.Checks {
		m.registry.MustRegister(newUp(name, check, cfg.CheckTime, cfg.CheckAge))
	}
	return m, nil
}

// plugins makes the series of every plugin.
func (f factory) plugins(names []string) map[string]*pluginMeter {
	claimed := f.counters("securetag_jobs_claimed_total", "Jobs that this host claimed.", "plugin")
	retried := f.counters("securetag_jobs_requeued_total", "Attempts after which the job was given back to be tried again: failed ones, and those that a stopping host released.", "plugin")
	lost := f.counters("securetag_leases_lost_total", "Attempts whose result was dropped, because their lease was lost.", "plugin")
	ended := f.counters("securetag_jobs_ended_total", "Jobs that ended on this host, by their final state.", "plugin", "state")
	failed := f.counters("securetag_attempts_failed_total", "Attempts that ended with an error, by its code.", "plugin", "code")
	running := f.gauges("securetag_jobs_running", "Jobs that this host runs now.", "plugin")
	waited := f.histograms("securetag_job_wait_seconds", "Time from when a job was ready to its claim.", waitBuckets, "plugin")
	ran := f.histograms("securetag_job_run_seconds", "Time from a claim to the stored result.", runBuckets, "plugin")
	out := map[string]*pluginMeter{}
	for _, name := range append([]string{other}, names...) {
		p := &pluginMeter{
			claimed: claimed.WithLabelValues(name), retried: retried.WithLabelValues(name), lost: lost.WithLabelValues(name),
			running: running.WithLabelValues(name), waited: waited.WithLabelValues(name), ran: ran.WithLabelValues(name),
			ended: map[host.State]prometheus.Counter{}, failed: map[host.ErrorCode]prometheus.Counter{},
		}
		for _, s := range host.States() {
			if s.Final() {
				p.ended[s] = ended.WithLabelValues(name, string(s))
			}
		}
		for _, c := range host.ErrorCodes() {
			p.failed[c] = failed.WithLabelValues(name, string(c))
		}
		p.failed[""] = failed.WithLabelValues(name, other)
		out[name] = p
	}
	return out
}

func (m *Meter) plugin(name string) *pluginMeter {
	if p := m.plugins[name]; p != nil {
		return p
	}
	return m.plugins[other]
}

// JobStarted implements host.Meter.
func (m *Meter) JobStarted(plugin string, waited time.Duration) {
	p := m.plugin(plugin)
	p.claimed.Inc()
	p.running.Inc()
	p.waited.Observe(max(waited, 0).Seconds())
	m.busy.Inc()
}

// JobEnded implements host.Meter.
func (m *Meter) JobEnded(plugin string, e host.JobEnd) {
	p := m.plugin(plugin)
	m.busy.Dec()
	p.running.Dec()
	switch {
	case e.State == "":
		p.lost.Inc()
		return // what became of it is not this host's to say
	case e.State == host.StateQueued:
		p.retried.Inc()
	case p.ended[e.State] != nil:
		p.ended[e.State].Inc()
	}
	p.ran.Observe(e.Ran.Seconds())
	if e.Code != "" {
		c := p.failed[e.Code]
		if c == nil {
			c = p.failed[""]
		}
		c.Inc()
	}
}

// LeasesExpired implements host.Meter.
func (m *Meter) LeasesExpired(jobs int) { m.expired.Add(float64(jobs)) }

// DoorbellsRung implements host.Meter.
func (m *Meter) DoorbellsRung(n int) { m.rung.Add(float64(n)) }

// DoorbellsHeard implements host.Meter.
func (m *Meter) DoorbellsHeard(n int) { m.heard.Add(float64(n)) }

// EventsDropped implements host.Meter.
func (m *Meter) EventsDropped(n int) { m.dropped.Add(float64(n)) }

// Answered implements host.Meter.
func (m *Meter) Answered(route string, status int, took time.Duration) {
	if route == "" {
		route = other
	}
	m.requests.WithLabelValues(route, class(status)).Inc()
	m.answers.WithLabelValues(route).Observe(took.Seconds())
}

// RateLimited implements host.Meter.
func (m *Meter) RateLimited(policy string) { m.limited.WithLabelValues(policy).Inc() }

// LimitsAlone implements host.Meter.
func (m *Meter) LimitsAlone(alone bool) {
	m.alone.Set(0)
	if alone {
		m.alone.Set(1)
	}
}

// class is the class of an HTTP status.
func class(status int) string {
	classes := [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	if i := status/100 - 1; i >= 0 && i < len(classes) {
		return classes[i]
	}
	return other // cut off before there was an answer
}
