package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

// shareFlags are the choices of a tenant's share.
type shareFlags struct {
	weight      float64
	concurrency string
}

// byDefault is the value of --concurrency that takes a cap of its own away.
const byDefault = "default"

func (f *shareFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Float64Var(&f.weight, "weight", 1, fmt.Sprintf("its part of the slots that several tenants want, in proportion to theirs, %v to %v", host.MinWeight, host.MaxWeight))
	fl.StringVar(&f.concurrency, "concurrency", byDefault, "how many of its jobs run at once over all hosts: a number, 0 for any, or "+byDefault+" for limits.tenant_concurrency")
}

// apply changes in s what a flag names.
func (f *shareFlags) apply(cmd *cobra.Command, s host.Share) (host.Share, error) {
	if cmd.Flags().Changed("weight") {
		s.Weight = f.weight
	}
	if cmd.Flags().Changed("concurrency") {
		s.Concurrency = nil
		if f.concurrency != byDefault {
			n, err := strconv.Atoi(f.concurrency)
			if err != nil {
				n = -1
			}
			s.Concurrency = &n
		}
	}
	switch weighed := s.Weight != 0; { // 0 would be the default
	case weighed && s.Valid():
		return s, nil
	case weighed && (host.Share{Weight: s.Weight}).Valid():
		return s, fmt.Errorf("--concurrency %q: give a number from 0 (any) to %d, or %s", f.concurrency, host.MaxConcurrency, byDefault)
	default:
		return s, fmt.Errorf("--weight %v: give a number from %v to %v", f.weight, host.MinWeight, host.MaxWeight)
	}
}

func (p *program) updateTenant(cmd *cobra.Command, s host.Store, cfg config.Config, name string, f tenantFlags) error {
	shares := cmd.Flags().Changed("weight") || cmd.Flags().Changed("concurrency")
	if !shares && !f.terms.given(cmd) {
		return usageError{errors.New("nothing to change: give --plan, --set, --weight or --concurrency")}
	}
	t, err := s.TenantByName(cmd.Context(), name)
	if errors.Is(err, host.ErrNotFound) {
		return usageError{fmt.Errorf("there is no tenant %q: securetag tenant list shows the names", name)}
	}
	if err != nil {
		return err
	}
	share, err := f.share.apply(cmd, t.Share)
	if err != nil {
		return usageError{err}
	}
	terms, err := f.terms.apply(cmd, t.Terms, cfg)
	if err != nil {
		return usageError{err}
	}
	if shares {
		if err := s.SetShare(cmd.Context(), t.ID, share); err != nil {
			return err
		}
	}
	if f.terms.given(cmd) {
		if err := s.SetTerms(cmd.Context(), t.ID, terms); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stdout, "Tenant %q has plan %s, weight %v and concurrency %s.\n", name, planName(terms), share.Weight, concurrency(share))
	return nil
}

// planName is a tenant's plan as people write it; a star says that not all of it
// is the plan's.
func planName(t host.Terms) string {
	name := cmp.Or(t.Plan, config.DefaultPlan)
	if t.Override != (host.Override{}) {
		name += "*"
	}
	return name
}

func concurrency(s host.Share) string {
	if s.Concurrency == nil {
		return byDefault
	}
	return strconv.Itoa(*s.Concurrency)
}
