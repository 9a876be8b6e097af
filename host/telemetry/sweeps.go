package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/securetaghq/securetag/host"
)

// sweepMeter holds the series of retention and of the sweep for orphans.
type sweepMeter struct {
	scans, findings, archives prometheus.Counter
	tasks                     map[host.SweepTask]taskMeter
}

type taskMeter struct {
	blobs, bytes, errors prometheus.Counter
	last                 prometheus.Gauge
}

func (f factory) sweeps() sweepMeter {
	blobs := f.counters("securetag_retention_blobs_total", "Blobs that were removed: of what is old or was deleted, or orphans that no scan needed.", "task")
	bytes := f.counters("securetag_retention_bytes_total", "Bytes in the blobs that were removed.", "task")
	errors := f.counters("securetag_retention_errors_total", "Turns that did not do all that there was.", "task")
	last := f.gauges("securetag_retention_last_run_timestamp_seconds", "When the last turn ended; 0: none has.", "task")
	m := sweepMeter{
		scans:    f.counter("securetag_retention_scans_total", "Scans that were removed because they were old, or deleted by their tenants."),
		findings: f.counter("securetag_retention_findings_total", "Findings that were removed with their scans."),
		archives: f.counter("securetag_retention_archives_total", "Archives that were removed because they were old, while their scans stay."),
		tasks:    map[host.SweepTask]taskMeter{},
	}
	for _, t := range host.SweepTasks() {
		m.tasks[t] = taskMeter{
			blobs: blobs.WithLabelValues(string(t)), bytes: bytes.WithLabelValues(string(t)),
			errors: errors.WithLabelValues(string(t)), last: last.WithLabelValues(string(t)),
		}
	}
	return m
}

// Swept implements host.Meter.
func (m *Meter) Swept(s host.Swept) {
	m.sweeps.scans.Add(float64(s.Scans))
	m.sweeps.findings.Add(float64(s.Findings))
	m.sweeps.archives.Add(float64(s.Archives))
	t, ok := m.sweeps.tasks[s.Task]
	if !ok {
		return
	}
	t.blobs.Add(float64(s.Blobs))
	t.bytes.Add(float64(s.Bytes))
	t.last.SetToCurrentTime()
	if s.Failed {
		t.errors.Inc()
	}
}
