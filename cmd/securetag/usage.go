package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

func (p *program) usageCommand() *cobra.Command {
	var on serverKey
	var tenant string
	cmd := &cobra.Command{
		Use: "usage", Short: "Say what a tenant's plan allows, and what of it is used",
		Long: `usage asks the server for the tenant of the key. With --tenant it looks into the
configured database instead, as an operator.`,
		Example: `  securetag usage --server https://scans.example.com
  securetag usage --tenant acme`,
		Args: args(cobra.NoArgs),
	}
	on.flags(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", "", "a tenant of the configured database")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		u, err := p.usageOf(cmd, on, tenant)
		if err != nil {
			return err
		}
		return p.printUsage(u, *asJSON)
	}
	return cmd
}

func (p *program) usageOf(cmd *cobra.Command, on serverKey, tenant string) (u client.Usage, err error) {
	if tenant != "" {
		err = p.onTenants(cmd, func(s host.Store, cfg config.Config) error {
			u, err = usageOfTenant(cmd, s, cfg, tenant)
			return err
		})
		return u, err
	}
	c, err := p.dial(cmd.Context(), on)
	if err != nil {
		return u, err
	}
	return c.Usage(cmd.Context())
}

func usageOfTenant(cmd *cobra.Command, s host.Store, cfg config.Config, name string) (client.Usage, error) {
	t, err := s.TenantByName(cmd.Context(), name)
	if errors.Is(err, host.ErrNotFound) {
		return client.Usage{}, usageError{fmt.Errorf("there is no tenant %q: securetag tenant list shows the names", name)}
	}
	if err != nil {
		return client.Usage{}, err
	}
	u, err := s.Usage(cmd.Context(), t.ID)
	if err != nil {
		return client.Usage{}, err
	}
	return api.UsageOf(newPlans(cfg, hclog.NewNullLogger()).Plan(t.Terms), u), nil
}

func (p *program) printUsage(u client.Usage, asJSON bool) error {
	if asJSON {
		return report.Document(p.stdout, u)
	}
	fmt.Fprintf(p.stdout, "Plan %s\n\n", u.Plan)
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUOTA\tUSED\tLIMIT\tRESETS")
	for _, q := range u.Quotas {
		most, resets := "any", "-"
		if q.Limit != nil {
			most = amount(*q.Limit, q.Unit)
		}
		if q.ResetsAt != nil {
			resets = q.ResetsAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", q.Name, amount(q.Used, q.Unit), most, resets)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the usage: %w", err)
	}
	fmt.Fprintln(w, "\nLIMIT\tVALUE")
	for _, l := range limitsOf(u.Limits) {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the usage: %w", err)
	}
	return nil
}

// limitsOf are the limits of one request or scan, as the configuration has them.
func limitsOf(l client.PlanLimits) [][]string {
	rate := func(r *client.Rate) string {
		if r == nil {
			return "any"
		}
		return config.Rate{Count: r.Requests, Per: time.Duration(r.Seconds * float64(time.Second))}.String()
	}
	some := func(n int64, text string) string {
		if n == 0 {
			return "any"
		}
		return text
	}
	size := func(n int64) string { return some(n, amount(n, "bytes")) }
	count := func(n int) string { return some(int64(n), strconv.Itoa(n)) }
	return [][]string{
		{"request_rate", rate(l.RequestRate)}, {"upload_rate", rate(l.UploadRate)},
		{"archive_size", size(l.ArchiveSize)}, {"unpacked_size", size(l.UnpackedSize)},
		{"concurrent_jobs", count(l.ConcurrentJobs)}, {"findings", count(l.Findings)}, {"artifacts", size(l.Artifacts)},
		{"retention", kept(l.RetentionSeconds)},
	}
}

// kept is how long a scan is kept.
func kept(seconds int64) string {
	if seconds == 0 {
		return "for ever"
	}
	return config.FormatDuration(time.Duration(seconds) * time.Second)
}

// amount is a number of bytes with a unit, or of anything else without.
func amount(n int64, unit string) string {
	if unit == "bytes" {
		return config.ByteSize(n).String()
	}
	return strconv.FormatInt(n, 10)
}
