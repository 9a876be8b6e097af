// Package bench drives load through real host processes: uploads over HTTP, a
// no-op plugin process behind every job. `make bench` runs it; tests never time
// anything.
package bench
