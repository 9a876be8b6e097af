package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

func (p *program) keyRotateCommand(tenant *string) *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate --tenant NAME ID", Short: "Replace a key: print a new one, once, and let the old one end",
		Long: `rotate makes a key with the name and scopes of an old one and prints it. The old
one stays good for the overlap, in which its users change over.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if overlap < 0 {
				return usageError{fmt.Errorf("--overlap %v: it cannot end in the past", overlap)}
			}
			return p.onTenant(cmd, *tenant, func(s host.Store, t host.Tenant) error { return p.rotateKey(cmd.Context(), s, t, a[0], overlap) })
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old key stays good; 0: not at all")
	return cmd
}

func (p *program) rotateKey(ctx context.Context, s host.Store, t host.Tenant, id string, overlap time.Duration) error {
	secret, next := apikey.New()
	old, err := host.ParseID[host.KeyID](id)
	if err == nil {
		_, err = s.RotateKey(ctx, t.ID, old, overlap, next)
	}
	switch {
	case errors.Is(err, host.ErrNotFound):
		return usageError{fmt.Errorf("tenant %q has no key %q: securetag key list --tenant %s shows the ids", t.Name, id, t.Name)}
	case errors.Is(err, host.ErrConflict):
		return usageError{fmt.Errorf("key %q is revoked or expired: make a new one with securetag key create --tenant %s", id, t.Name)}
	case err != nil:
		return err
	}
	fmt.Fprintln(p.stdout, secret)
	fmt.Fprintf(p.stderr, "Key %s of tenant %q. It is shown only this once. Key %s ends in %v.\n", next.ID, t.Name, old, overlap)
	return nil
}
