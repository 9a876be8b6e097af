// Package throughput measures what a result costs on its whole way: from a
// plugin's call to committed rows. It has benchmarks only.
package throughput
