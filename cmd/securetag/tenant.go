package main

import (
	"errors"
	"fmt"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/host"
)

func (p *program) tenantCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Make and list tenants", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(
		&cobra.Command{
			Use: "create NAME", Short: "Make a tenant", Args: args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, a []string) error {
				return p.onStore(cmd, func(s host.Store) error { return p.createTenant(cmd, s, a[0]) })
			},
		},
		&cobra.Command{
			Use: "list", Short: "List the tenants", Args: args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return p.onStore(cmd, func(s host.Store) error { return p.listTenants(cmd, s) })
			},
		},
	)
	return cmd
}

// onStore loads the configuration and runs f on its store.
func (p *program) onStore(cmd *cobra.Command, f func(host.Store) error) error {
	loaded, err := p.load(cmd)
	if err != nil {
		return err
	}
	return withStore(cmd.Context(), loaded.Config, f)
}

var tenantName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (p *program) createTenant(cmd *cobra.Command, s host.Store, name string) error {
	if !tenantName.MatchString(name) {
		return usageError{fmt.Errorf("tenant name %q: use lower-case letters, digits and -, at most 63, beginning with a letter or digit", name)}
	}
	err := s.CreateTenant(cmd.Context(), host.Tenant{ID: host.NewTenantID(), Name: name})
	if errors.Is(err, host.ErrConflict) {
		return usageError{fmt.Errorf("there is a tenant %q already", name)}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Made tenant %q. Make a key for it with: securetag key create --tenant %s\n", name, name)
	return nil
}

func (p *program) listTenants(cmd *cobra.Command, s host.Store) error {
	tenants, err := s.Tenants(cmd.Context())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tCREATED")
	for _, t := range tenants {
		fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, t.ID, t.CreatedAt.Format(time.DateTime))
	}
	return w.Flush()
}
