package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make, list, rotate and revoke API keys", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var (
		tenant, name string
		scopes       []string
		expires      time.Duration
	)
	create := &cobra.Command{
		Use: "create --tenant NAME", Short: "Make a key and print it, once", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onTenant(cmd, tenant, func(s host.Store, t host.Tenant) error {
				return p.createKey(cmd.Context(), s, t, name, scopes, expires)
			})
		},
	}
	create.Flags().StringVar(&name, "name", "", "what to call the key, to recognise it in the list")
	create.Flags().DurationVar(&expires, "expires", 0, "how long the key is valid, such as 720h (default: until revoked)")
	create.Flags().StringSliceVar(&scopes, "scopes", nil, "what the key may do, of "+host.Scopes(host.AllScopes()).String()+" (default: "+host.DefaultScopes().String()+")")
	list := &cobra.Command{Use: "list --tenant NAME", Short: "List a tenant's keys", Args: args(cobra.NoArgs)}
	asJSON := jsonFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.onTenant(cmd, tenant, func(s host.Store, t host.Tenant) error { return p.listKeys(cmd.Context(), s, t, *asJSON) })
	}
	revoke := &cobra.Command{
		Use: "revoke --tenant NAME ID", Short: "Revoke a key: hosts refuse it within a second", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			return p.onTenant(cmd, tenant, func(s host.Store, t host.Tenant) error { return p.revokeKey(cmd.Context(), s, t, a[0]) })
		},
	}
	for _, c := range []*cobra.Command{create, list, p.keyRotateCommand(&tenant), revoke} {
		c.Flags().StringVar(&tenant, "tenant", "", "the tenant's name (required)")
		cmd.AddCommand(c)
	}
	return cmd
}

// onTenant finds a tenant by name and runs f for it.
func (p *program) onTenant(cmd *cobra.Command, name string, f func(host.Store, host.Tenant) error) error {
	if name == "" {
		return usageError{errors.New("--tenant is required: securetag tenant list shows the names")}
	}
	return p.onStore(cmd, func(s host.Store) error {
		t, err := s.TenantByName(cmd.Context(), name)
		if errors.Is(err, host.ErrNotFound) {
			return usageError{fmt.Errorf("there is no tenant %q: securetag tenant list shows the names", name)}
		}
		if err != nil {
			return err
		}
		return f(s, t)
	})
}

const maxKeyName = 100

func (p *program) createKey(ctx context.Context, s host.Store, t host.Tenant, name string, words []string, expires time.Duration) error {
	if err := checkKey(name, expires); err != nil {
		return err
	}
	scopes, err := host.ParseScopes(words)
	if err != nil {
		return usageError{fmt.Errorf("--scopes: %w", err)}
	}
	secret, key := apikey.New()
	key.TenantID, key.Name, key.Scopes = t.ID, name, scopes
	if expires > 0 {
		key.ExpiresAt = time.Now().Add(expires).UTC()
	}
	if err := s.CreateKey(ctx, key); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, secret)
	fmt.Fprintf(p.stderr, "Key %s of tenant %q. It is shown only this once.\n", key.ID, t.Name)
	return nil
}

// checkKey looks at what a key is to be called and how long it is to be valid.
func checkKey(name string, expires time.Duration) error {
	if expires < 0 {
		return usageError{fmt.Errorf("--expires %v: a key cannot expire in the past", expires)}
	}
	if len(name) > maxKeyName || safetext.Plain(name) != name {
		return usageError{fmt.Errorf("--name %.*q: use at most %d bytes of one line of text", maxKeyName, name, maxKeyName)}
	}
	return nil
}

func (p *program) listKeys(ctx context.Context, s host.Store, t host.Tenant, asJSON bool) error {
	keys, err := s.Keys(ctx, t.ID)
	if err != nil {
		return err
	}
	if asJSON {
		return printItems(p, keys, api.KeyOf)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKEY\tNAME\tSCOPES\tCREATED\tLAST USED\tSTATE")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s…\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, safetext.Plain(k.Name), safetext.Plain(k.Scopes.String()), stamp(k.CreatedAt, "-"), lastUsed(k.LastUsedAt), keyState(k.RevokedAt, k.ExpiresAt, time.Now()))
	}
	return w.Flush()
}

func keyState(revoked, expires, now time.Time) string {
	switch {
	case !revoked.IsZero():
		return "revoked " + stamp(revoked, "")
	case expires.IsZero():
		return "valid"
	case now.After(expires):
		return "expired " + stamp(expires, "")
	default:
		return "valid until " + stamp(expires, "")
	}
}

func stamp(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.Format(time.DateTime)
}

// lastUsed is kept to the minute only.
func lastUsed(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format("2006-01-02 15:04")
}

func (p *program) revokeKey(ctx context.Context, s host.Store, t host.Tenant, id string) error {
	key, err := host.ParseID[host.KeyID](id)
	if err == nil {
		err = s.RevokeKey(ctx, t.ID, key)
	}
	if errors.Is(err, host.ErrNotFound) {
		return usageError{fmt.Errorf("tenant %q has no key %q: securetag key list --tenant %s shows the ids", t.Name, id, t.Name)}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Revoked key %s.\n", key)
	return nil
}
