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
	weight      string
	concurrency string
}

// byDefault is the value that takes a tenant's own away.
const byDefault = "default"

func (f *shareFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.weight, "weight", byDefault, fmt.Sprintf("its part of the slots that several tenants want, in proportion to theirs: %v to %v, or %s for its plan's", host.MinWeight, host.MaxWeight, byDefault))
	fl.StringVar(&f.concurrency, "concurrency", byDefault, "how many of its jobs run at once over all hosts: a number, 0 for any, or "+byDefault+" for its plan's")
}

// apply changes in s what a flag names.
func (f *shareFlags) apply(cmd *cobra.Command, s host.Share) (host.Share, error) {
	if cmd.Flags().Changed("weight") {
		s.Weight = 0
		if f.weight != byDefault {
			n, err := strconv.ParseFloat(f.weight, 64)
			if s.Weight = n; err != nil || n == 0 || !(host.Share{Weight: n}).Valid() {
				return s, fmt.Errorf("--weight %.40s: give a number from %v to %v, or %s", f.weight, host.MinWeight, host.MaxWeight, byDefault)
			}
		}
	}
	if cmd.Flags().Changed("concurrency") {
		s.Concurrency = nil
		if f.concurrency != byDefault {
			n, err := strconv.Atoi(f.concurrency)
			if s.Concurrency = &n; err != nil || !s.Valid() {
				return s, fmt.Errorf("--concurrency %q: give a number from 0 (any) to %d, or %s", f.concurrency, host.MaxConcurrency, byDefault)
			}
		}
	}
	return s, nil
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
	fmt.Fprintf(p.stdout, "Tenant %q has plan %s, weight %s and concurrency %s.\n", name, planName(terms), weight(share), concurrency(share))
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

func weight(s host.Share) string {
	if s.Weight == 0 {
		return byDefault
	}
	return fmt.Sprint(s.Weight)
}

func concurrency(s host.Share) string {
	if s.Concurrency == nil {
		return byDefault
	}
	return strconv.Itoa(*s.Concurrency)
}
