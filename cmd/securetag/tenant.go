package main

import (
	"errors"
	"fmt"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

func (p *program) tenantCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Make, change and list tenants", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var made, changed tenantFlags
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a tenant", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			return p.onTenants(cmd, func(s host.Store, cfg config.Config) error { return p.createTenant(cmd, s, cfg, a[0], made) })
		},
	}
	made.register(create)
	update := &cobra.Command{
		Use: "update NAME", Short: "Change what a tenant gets",
		Long: `update changes a tenant's plan and share. What no flag names stays as it is.
Hosts that are running keep to it from the next request and job on.`,
		Example: `  securetag tenant update acme --weight 2 --concurrency 8
  securetag tenant update acme --concurrency default
  securetag tenant update acme --plan premium --set storage_quota=2GiB`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			return p.onTenants(cmd, func(s host.Store, cfg config.Config) error { return p.updateTenant(cmd, s, cfg, a[0], changed) })
		},
	}
	changed.register(update)
	list := &cobra.Command{Use: "list", Short: "List the tenants", Args: args(cobra.NoArgs)}
	asJSON := jsonFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.onStore(cmd, func(s host.Store) error { return p.listTenants(cmd, s, *asJSON) })
	}
	cmd.AddCommand(create, update, list, p.tenantSuspendCommand(), p.tenantResumeCommand(), p.tenantDeleteCommand())
	return cmd
}

// tenantFlags are the choices of a tenant.
type tenantFlags struct {
	share shareFlags
	terms termsFlags
}

func (f *tenantFlags) register(cmd *cobra.Command) {
	f.share.register(cmd)
	f.terms.register(cmd)
}

// onTenants is onStore for what needs the configuration as well.
func (p *program) onTenants(cmd *cobra.Command, f func(host.Store, config.Config) error) error {
	loaded, err := p.load(cmd)
	if err != nil {
		return err
	}
	return p.withAudited(cmd, loaded.Config, func(s host.Store) error { return f(s, loaded.Config) })
}

// onStore loads the configuration and runs f on its store.
func (p *program) onStore(cmd *cobra.Command, f func(host.Store) error) error {
	loaded, err := p.load(cmd)
	if err != nil {
		return err
	}
	return p.withAudited(cmd, loaded.Config, f)
}

var tenantName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (p *program) createTenant(cmd *cobra.Command, s host.Store, cfg config.Config, name string, f tenantFlags) error {
	if !tenantName.MatchString(name) {
		return usageError{fmt.Errorf("tenant name %q: use lower-case letters, digits and -, at most 63, beginning with a letter or digit", name)}
	}
	share, err := f.share.apply(cmd, host.Share{})
	if err != nil {
		return usageError{err}
	}
	terms, err := f.terms.apply(cmd, host.Terms{}, cfg)
	if err != nil {
		return usageError{err}
	}
	err = s.CreateTenant(cmd.Context(), host.Tenant{ID: host.NewTenantID(), Name: name, Share: share, Terms: terms})
	if errors.Is(err, host.ErrConflict) {
		return usageError{fmt.Errorf("there is a tenant %q already", name)}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Made tenant %q. Make a key for it with: securetag key create --tenant %s\n", name, name)
	return nil
}

func (p *program) listTenants(cmd *cobra.Command, s host.Store, asJSON bool) error {
	tenants, err := s.Tenants(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		return printItems(p, tenants, api.TenantOf)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tCREATED\tPLAN\tWEIGHT\tCONCURRENCY\tSTATE")
	for _, t := range tenants {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.ID, t.CreatedAt.Format(time.DateTime), planName(t.Terms), weight(t.Share), concurrency(t.Share), standing(t))
	}
	return w.Flush()
}
