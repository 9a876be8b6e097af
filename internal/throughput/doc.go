// Package throughput measures what a result costs on its whole way, from a
// plugin's call to committed rows, and what it takes to read one back over HTTP.
// It has benchmarks only.
package throughput
