package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// maxReason is how long the reason of a suspension may be.
const maxReason = 200

func (p *program) tenantSuspendCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "suspend NAME", Short: "Refuse a tenant's keys and start none of its jobs",
		Long: `suspend refuses a tenant's keys within a second and starts none of its queued jobs.
Those that run end by themselves. securetag tenant resume takes it back.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if len(reason) > maxReason || safetext.Plain(reason) != reason {
				return usageError{fmt.Errorf("--reason: use at most %d bytes of one line of text", maxReason)}
			}
			return p.onTenant(cmd, a[0], func(s host.Store, t host.Tenant) error {
				if err := s.Suspend(cmd.Context(), t.ID, reason); err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "Suspended tenant %q.\n", t.Name)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "one line for those who wonder")
	return cmd
}

func (p *program) tenantResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "Take a suspension back", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			return p.onTenant(cmd, a[0], func(s host.Store, t host.Tenant) error {
				err := s.Unsuspend(cmd.Context(), t.ID)
				if errors.Is(err, host.ErrConflict) {
					return fmt.Errorf("tenant %q is being deleted, which cannot be undone: %w", t.Name, err)
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "Tenant %q is no longer suspended.\n", t.Name)
				return nil
			})
		},
	}
}

func (p *program) tenantDeleteCommand() *cobra.Command {
	var sure bool
	cmd := &cobra.Command{
		Use: "delete NAME --yes", Short: "Delete a tenant with all that is its",
		Long: `delete ends a tenant's keys at once. Its scans are canceled, and running hosts
remove them with their findings, artifacts and archives, bit by bit; then the
tenant is gone from the list and its name is free. It cannot be undone.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if !sure {
				return usageError{fmt.Errorf("deleting tenant %q removes all its scans and cannot be undone: say --yes if it is meant", a[0])}
			}
			return p.onTenant(cmd, a[0], func(s host.Store, t host.Tenant) error {
				if err := s.DeleteTenant(cmd.Context(), t.ID); err != nil {
					return err
				}
				fmt.Fprintf(p.stdout, "Tenant %q is being deleted: running hosts remove its data.\n", t.Name)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&sure, "yes", false, "it is meant")
	return cmd
}

// standing is what a tenant is in a list.
func standing(t host.Tenant) string {
	switch {
	case !t.DeletedAt.IsZero():
		return "being deleted"
	case t.Suspended.At.IsZero():
		return "active"
	case t.Suspended.Reason == "":
		return "suspended"
	default:
		return "suspended: " + safetext.Plain(t.Suspended.Reason)
	}
}
