package telemetry

import "github.com/prometheus/client_golang/prometheus"

// reloadMeter holds the series of the configuration.
type reloadMeter struct {
	taken, failed prometheus.Counter
	good, waiting prometheus.Gauge
	last          prometheus.Gauge
}

func (f factory) reloads() reloadMeter {
	all := f.counters("securetag_config_reloads_total", "Times that the configuration was read again, by whether it was taken.", "result")
	m := reloadMeter{
		taken: all.WithLabelValues("taken"), failed: all.WithLabelValues("failed"),
		good:    f.gauge("securetag_config_last_reload_successful", "0 while the last reload failed and an older configuration is in force, else 1."),
		waiting: f.gauge("securetag_config_waiting_settings", "Settings and blocks that changed and wait for a restart."),
		last:    f.gauge("securetag_config_last_reload_success_timestamp_seconds", "When the configuration in force was read."),
	}
	m.good.Set(1)
	m.last.SetToCurrentTime()
	return m
}

// Reloaded counts a reload that was taken, after which so many settings wait for
// a restart.
func (m *Meter) Reloaded(waiting int) {
	m.reloads.taken.Inc()
	m.reloads.good.Set(1)
	m.reloads.waiting.Set(float64(waiting))
	m.reloads.last.SetToCurrentTime()
}

// ReloadFailed counts a reload after which everything is as it was.
func (m *Meter) ReloadFailed() {
	m.reloads.failed.Inc()
	m.reloads.good.Set(0)
}
