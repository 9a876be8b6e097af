package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/securetaghq/securetag/host"
)

// pluginStates are the label values of securetag_plugin_state.
func pluginStates() []string {
	return []string{"unknown", "starting", "ready", "degraded", "backoff", "quarantined", "stopped"}
}

// plugins shows how the plugins of this host do, when it is scraped.
type plugins struct {
	status func() []host.PluginStatus

	state, processes, starts, failed, restarts, data *prometheus.Desc

	connections, refused, bytes *prometheus.Desc
}

func newPlugins(status func() []host.PluginStatus) *plugins {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"plugin"}, labels...), nil)
	}
	return &plugins{
		status:    status,
		state:     desc("securetag_plugin_state", "1 for the state in which the plugin is, 0 for the others.", "state"),
		processes: desc("securetag_plugin_processes_waiting", "Processes that wait for a job, or the shared one."),
		starts:    desc("securetag_plugin_starts_total", "Processes that were started."),
		failed:    desc("securetag_plugin_start_failures_total", "Starts of a process that failed."),
		restarts:  desc("securetag_plugin_restarts_total", "Processes that were replaced because they died or broke."),
		data:      desc("securetag_plugin_data_updated_timestamp_seconds", "When the plugin's rules or databases were made, as it says."),

		connections: desc("securetag_plugin_egress_connections_total", "Connections that the plugin made through the host's proxy."),
		refused:     desc("securetag_plugin_egress_refused_total", "Requests of the plugin that the host's proxy refused."),
		bytes:       desc("securetag_plugin_egress_bytes_total", "Bytes of the plugin through the host's proxy.", "direction"),
	}
}

// Describe implements prometheus.Collector.
func (p *plugins) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.state, p.processes, p.starts, p.failed, p.restarts, p.data, p.connections, p.refused, p.bytes} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (p *plugins) Collect(out chan<- prometheus.Metric) {
	for _, s := range p.status() {
		for _, state := range pluginStates() {
			value := 0.0
			if s.State == state {
				value = 1
			}
			out <- prometheus.MustNewConstMetric(p.state, prometheus.GaugeValue, value, s.Name, state)
		}
		out <- prometheus.MustNewConstMetric(p.processes, prometheus.GaugeValue, float64(s.Standby), s.Name)
		out <- prometheus.MustNewConstMetric(p.starts, prometheus.CounterValue, float64(s.Starts), s.Name)
		out <- prometheus.MustNewConstMetric(p.failed, prometheus.CounterValue, float64(s.Failed), s.Name)
		out <- prometheus.MustNewConstMetric(p.restarts, prometheus.CounterValue, float64(s.Restarts), s.Name)
		out <- prometheus.MustNewConstMetric(p.connections, prometheus.CounterValue, float64(s.Egress.Connections), s.Name)
		out <- prometheus.MustNewConstMetric(p.refused, prometheus.CounterValue, float64(s.Egress.Refused), s.Name)
		out <- prometheus.MustNewConstMetric(p.bytes, prometheus.CounterValue, float64(s.Egress.Sent), s.Name, "sent")
		out <- prometheus.MustNewConstMetric(p.bytes, prometheus.CounterValue, float64(s.Egress.Received), s.Name, "received")
		if !s.DataUpdated.IsZero() {
			out <- prometheus.MustNewConstMetric(p.data, prometheus.GaugeValue, float64(s.DataUpdated.Unix()), s.Name)
		}
	}
}
