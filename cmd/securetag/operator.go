package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/internal/safetext"
)

func (p *program) operatorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "operator", Short: "Make, list and revoke operators' keys", Args: args(cobra.NoArgs),
		Long: `An operator's key opens /admin of the API: the queue, the tenants and their keys. It
belongs to no tenant and opens none of their scans. The command line needs none: it works
on the configured database.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var (
		name    string
		expires time.Duration
	)
	create := &cobra.Command{
		Use: "create --name NAME", Short: "Make a key and print it, once", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.onStore(cmd, func(s host.Store) error { return p.createOperator(cmd.Context(), s, name, expires) })
		},
	}
	create.Flags().StringVar(&name, "name", "", "whose key it is, to recognise it in the list and in logs (required)")
	create.Flags().DurationVar(&expires, "expires", 0, "how long the key is valid, such as 720h (default: until revoked)")
	list := &cobra.Command{Use: "list", Short: "List the keys", Args: args(cobra.NoArgs)}
	asJSON := jsonFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.onStore(cmd, func(s host.Store) error { return p.listOperators(cmd.Context(), s, *asJSON) })
	}
	cmd.AddCommand(create, list,
		&cobra.Command{
			Use: "revoke ID", Short: "Revoke a key at once", Args: args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, a []string) error {
				return p.onStore(cmd, func(s host.Store) error { return p.revokeOperator(cmd.Context(), s, a[0]) })
			},
		},
	)
	return cmd
}

func (p *program) createOperator(ctx context.Context, s host.Store, name string, expires time.Duration) error {
	if name == "" {
		return usageError{errors.New("--name is required: logs say by it who did what")}
	}
	if err := checkKey(name, expires); err != nil {
		return err
	}
	secret, key := apikey.NewOperator()
	key.Name = name
	if expires > 0 {
		key.ExpiresAt = time.Now().Add(expires).UTC()
	}
	if err := s.CreateOperatorKey(ctx, key); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, secret)
	fmt.Fprintf(p.stderr, "Operator key %s of %q. It is shown only this once.\n", key.ID, name)
	return nil
}

func (p *program) listOperators(ctx context.Context, s host.Store, asJSON bool) error {
	keys, err := s.OperatorKeys(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printItems(p, keys, func(k host.OperatorKey) client.APIKey { // it has no scopes: it is for /admin
			return api.KeyOf(host.Key{ID: k.ID, Name: k.Name, Prefix: k.Prefix, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt, LastUsedAt: k.LastUsedAt})
		})
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKEY\tNAME\tCREATED\tLAST USED\tSTATE")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s…\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, safetext.Plain(k.Name), stamp(k.CreatedAt, "-"),
			lastUsed(k.LastUsedAt), keyState(k.RevokedAt, k.ExpiresAt, time.Now()))
	}
	return w.Flush()
}

func (p *program) revokeOperator(ctx context.Context, s host.Store, id string) error {
	key, err := host.ParseID[host.KeyID](id)
	if err == nil {
		err = s.RevokeOperatorKey(ctx, key)
	}
	if errors.Is(err, host.ErrNotFound) {
		return usageError{fmt.Errorf("there is no operator key %q: securetag operator list shows the ids", id)}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Revoked operator key %s.\n", key)
	return nil
}
