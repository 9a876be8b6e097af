// Package telemetry counts what a host does and shows it in the text format of
// Prometheus, on a listener of its own. docs/operating.md lists every metric.
//
// The number of time series is fixed by the configuration: a label is a plugin,
// a route, a state, an error code, a status class or a word of this package,
// and what none of these names is counted as "other". Nothing says anything of
// a tenant. The series of jobs are made at the start, so that counting one is
// a look into a map that nobody writes and some atomic additions.
//
// What a metric says is what this host did. What the whole installation did is
// the sum over its hosts.
package telemetry
