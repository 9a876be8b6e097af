package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/bench/peers/report"
)

// campaign measures every system once in every round. Each round begins with
// another, so that none always has the machine at its warmest. A system that
// fails does not take the others' numbers with it: they come with its error.
func (b *bench) campaign(ctx context.Context) (*report.Run, error) {
	facts, err := b.facts(ctx)
	if err != nil {
		return nil, err
	}
	run := &report.Run{Facts: facts, Uploads: b.uploads}
	for _, c := range b.cells {
		run.Cells = append(run.Cells, c.Cell)
	}
	var failed []error
	for round := range b.rounds {
		for i := range b.cells {
			c := b.cells[(i+round)%len(b.cells)]
			began := time.Now()
			r, err := b.measure(ctx, c, round+1)
			if err != nil {
				err = fmt.Errorf("%s, round %d: %w", c.Name, round+1, err)
				if ctx.Err() != nil {
					return nil, err
				}
				fmt.Println(err)
				failed = append(failed, err)
			}
			run.Results = append(run.Results, r)
			fmt.Printf("%s  round %d  %-14s %3.0f s  %s\n", began.Format(time.TimeOnly), round+1, c.Name, time.Since(began).Seconds(), brief(r))
		}
	}
	return run, errors.Join(failed...)
}

// brief is a result on a line.
func brief(r report.Result) string {
	var out []string
	note := func(c report.Common, format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if c.Disturbed() {
			s += fmt.Sprintf(" (disturbed by %s, %.0f%%)", c.Usage.Top, c.Usage.Foreign/c.Usage.Wall*100)
		}
		out = append(out, s)
	}
	if p := r.Live; p != nil {
		note(p.Common, "live %.0f/s accepted %.0f/s", p.EndPerSec, p.Burst.PerSec)
	}
	if p := r.Idle; p != nil {
		note(p.Common, "idle p50 %.2f p99 %.2f ms", p.Completed.P50, p.Completed.P99)
	}
	if p := r.API; p != nil {
		note(p.Common, "api %.0f/s", p.Burst.PerSec)
	}
	if p := r.Backlog; p != nil {
		note(p.Common, "backlog %.0f/s", p.PerSec)
	}
	if p := r.Large; p != nil {
		note(p.Common, "large %.0f/s then %.0f/s", p.PerSec, p.Later)
	}
	return strings.Join(out, ", ")
}

// measure takes a system through its phases.
func (b *bench) measure(ctx context.Context, c cell, round int) (_ report.Result, err error) {
	r := report.Result{Cell: c.Name, Round: round, At: time.Now().UTC().Truncate(time.Second)}
	if err := b.calm(ctx); err != nil {
		return r, err
	}
	if r.SyncMicros, err = meter.SyncMicros(b.dir); err != nil {
		return r, err
	}
	if b.phases["live"] || b.phases["idle"] || (c.worker != nil && (b.phases["api"] || b.phases["backlog"])) {
		if err := b.measureUploads(ctx, c, round, &r); err != nil {
			return r, err
		}
	}
	if c.Name == report.Ours {
		err = b.measureSeeded(ctx, c, round, &r)
	}
	return r, err
}

func (b *bench) measureUploads(ctx context.Context, c cell, round int, r *report.Result) (err error) {
	s, err := b.newSubject(ctx, c, round)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := s.warmUp(ctx); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	for _, p := range []struct {
		name string
		run  func(context.Context, *report.Result) (*report.Common, error)
	}{{"live", s.live}, {"idle", s.idle}, {"api", s.api}, {"backlog", s.backlog}} {
		alone := p.name == "api" || p.name == "backlog" // need a server without a worker
		if !b.phases[p.name] || alone && c.worker == nil {
			continue
		}
		for attempt := range b.attempts {
			common, err := p.run(ctx, r)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if !common.Disturbed() || attempt+1 == b.attempts {
				break
			}
		}
	}
	return nil
}

// phaseNames are what -phases may name, in order.
//
//nolint:gochecknoglobals // never changed
var phaseNames = []string{"live", "idle", "api", "backlog", "large"}

func choosePhases(list string) (map[string]bool, error) {
	chosen := map[string]bool{}
	if list == "all" {
		list = strings.Join(phaseNames, ",")
	}
	for name := range strings.SplitSeq(list, ",") {
		if !slices.Contains(phaseNames, name) {
			return nil, fmt.Errorf("there is no phase %q: take all, or some of %s", name, strings.Join(phaseNames, ","))
		}
		chosen[name] = true
	}
	return chosen, nil
}
