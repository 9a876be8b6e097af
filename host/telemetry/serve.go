package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler answers GET /metrics and nothing else.
func (m *Meter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, // each holds its whole answer
		Timeout:             10 * time.Second,
	}))
	return mux
}

// stopTime is how long a scrape may go on after the host was told to stop.
const stopTime = 2 * time.Second

// Serve serves the metrics on l until ctx ends, and closes l. It fails only
// when it cannot go on.
func (m *Meter) Serve(ctx context.Context, l net.Listener, log hclog.Logger) error {
	server := &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(l)
	if release() { // ctx has not ended: it gave up by itself
		return fmt.Errorf("serve the metrics: %w", err)
	}
	return <-stopped
}
