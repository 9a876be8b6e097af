package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/host"
)

func (p *program) quotaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "quota", Short: "Check the account of what tenants hold", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	verify := &cobra.Command{
		Use: "verify", Short: "Compare the counters with the ledger and with the scans that there are",
		Long: `verify compares, for each tenant and quota, the counter that requests are held
against, the sum of the ledger of all that changed it, and what the scans that
there are add up to. It works beside running hosts, and exits with 1 when they
differ. With --fix the scans have the last word, and the ledger says that.`,
		Args: args(cobra.NoArgs),
	}
	fix := verify.Flags().Bool("fix", false, "make counters and ledger what the scans say")
	asJSON := plainJSON(verify)
	verify.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.onStore(cmd, func(s host.Store) error { return p.verifyQuotas(cmd, s, *fix, *asJSON) })
	}
	cmd.AddCommand(verify)
	return cmd
}

func (p *program) verifyQuotas(cmd *cobra.Command, s host.Store, fix, asJSON bool) error {
	wrong, err := s.VerifyQuotas(cmd.Context(), fix)
	if err != nil {
		return err
	}
	if asJSON {
		err = p.quotasJSON(wrong, fix)
	} else {
		err = p.quotasTable(wrong, fix)
	}
	if err != nil {
		return fmt.Errorf("print the quotas: %w", err)
	}
	if len(wrong) > 0 && !fix {
		return fmt.Errorf("%d quotas do not add up: securetag quota verify --fix makes them what the scans say", len(wrong))
	}
	return nil
}

// quotaView is a quota that does not add up as programs see it.
type quotaView struct {
	Tenant  string         `json:"tenant"`
	Quota   host.QuotaName `json:"quota"`
	Counter int64          `json:"counter"`
	Ledger  int64          `json:"ledger"`
	Actual  int64          `json:"actual"`
}

func (p *program) quotasJSON(wrong []host.Discrepancy, fix bool) error {
	all := []quotaView{}
	for _, d := range wrong {
		all = append(all, quotaView(d))
	}
	return report.Document(p.stdout, map[string]any{"items": all, "fixed": fix && len(all) > 0})
}

func (p *program) quotasTable(wrong []host.Discrepancy, fix bool) error {
	if len(wrong) == 0 {
		_, err := fmt.Fprintln(p.stdout, "Every quota adds up.")
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tQUOTA\tCOUNTER\tLEDGER\tACTUAL")
	for _, d := range wrong {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", d.Tenant, d.Quota, d.Counter, d.Ledger, d.Actual)
	}
	if err := w.Flush(); err != nil || !fix {
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "Fixed %d quotas.\n", len(wrong))
	return err
}
