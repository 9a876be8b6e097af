package telemetry

import "github.com/prometheus/client_golang/prometheus"

// The buckets end where a person would act: an idle host claims and answers in
// milliseconds, a scan type's timeout is 10 minutes.
var (
	waitBuckets    = []float64{.001, .0025, .005, .01, .025, .05, .1, .5, 1, 5, 30, 60, 300, 900, 3600}    //nolint:gochecknoglobals // a table, never written
	runBuckets     = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}    //nolint:gochecknoglobals // a table, never written
	requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300} //nolint:gochecknoglobals // a table, never written
)

// factory makes and registers. It panics on a name that is taken or malformed,
// which every test would see.
type factory struct{ to prometheus.Registerer }

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.to.MustRegister(v)
	return v
}

func (f factory) counter(name, help string) prometheus.Counter {
	return f.counters(name, help).WithLabelValues()
}

func (f factory) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	f.to.MustRegister(v)
	return v
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	return f.gauges(name, help).WithLabelValues()
}

func (f factory) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	f.to.MustRegister(v)
	return v
}
