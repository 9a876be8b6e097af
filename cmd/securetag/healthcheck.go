package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
)

// healthcheckCommand is for container health checks: the image has no shell
// and no curl.
func (p *program) healthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "healthcheck", Short: "Ask the host on this machine whether it is ready", Args: args(cobra.NoArgs)}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := p.load(cmd)
		if err != nil {
			return err
		}
		return p.healthcheck(cmd.Context(), loaded.Config.Server.Listen, *asJSON)
	}
	config.AddFlag(cmd.Flags(), "listen", "server.listen")
	return cmd
}

func (p *program) healthcheck(ctx context.Context, listen string, asJSON bool) error {
	address, port, err := net.SplitHostPort(listen)
	if err != nil {
		return usageError{fmt.Errorf("server.listen %q: %w", listen, err)}
	}
	if ip := net.ParseIP(address); address == "" || ip.IsUnspecified() {
		address = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := client.New("http://"+net.JoinHostPort(address, port), "", client.Options{Retries: -1})
	if err != nil {
		return err
	}
	ready, err := c.Readiness(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		if err := report.Document(p.stdout, ready); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(p.stdout, ready.Status)
	}
	if ready.Status == client.Unavailable {
		return &exitError{code: report.ExitServer}
	}
	return nil
}
