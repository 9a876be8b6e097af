// Command peers measures SecureTag beside other stacks that do the same work,
// in turns, on PostgreSQL and Redis servers of its own. `make bench` builds and
// runs it.
//
//	main.go       what is measured, from the command line
//	campaign.go   rounds and turns
//	cells.go      the systems: their processes, and how to ask their tables
//	phases.go     live, idle, api: what is done to a system and what is noted
//	backlog.go    backlog, large: a queue that is full when the worker starts
//	express/ asynqpeer/ riverpeer/ peer/   the other stacks
//	load/ meter/ stats/ report/            uploads, /proc, arithmetic, the page
//
// Rules that keep it fair: each round begins with another system; before a phase
// it waits a while until the machine is quiet, and a phase that others disturbed
// is measured again; every system has 20 connections to PostgreSQL in each
// process, 50 jobs at once, and the load generator on the same processors. Each
// has a new directory for its uploads in each round, and none is deleted before
// the end: ext4 takes far longer to make a file where many were just deleted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/securetaghq/securetag/bench/peers/report"
)

type options struct {
	root     string // of the repository
	rounds   int
	cells    string
	phases   string
	uploads  int
	large    int
	settle   time.Duration
	attempts int
	dir      string
	page     string
	results  string
	from     string
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository, built")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each system is measured")
	flag.StringVar(&o.cells, "cells", "all", "systems to measure: all, peers, or names with commas")
	flag.StringVar(&o.phases, "phases", "all", "all, or some of "+strings.Join(phaseNames, ","))
	flag.IntVar(&o.uploads, "uploads", 5000, "uploads of each burst")
	flag.IntVar(&o.large, "large", 1_000_000, "jobs of the large backlog")
	flag.DurationVar(&o.settle, "settle", 15*time.Second, "wait at most this long for a quiet machine before each phase")
	flag.IntVar(&o.attempts, "attempts", 2, "measure a phase that others disturbed at most so often")
	flag.StringVar(&o.dir, "dir", "", "directory for all data, on a real disk (default: in TMPDIR)")
	flag.StringVar(&o.page, "page", "", "page to write after a whole run")
	flag.StringVar(&o.results, "results", "", "file for the raw numbers")
	flag.StringVar(&o.from, "from", "", "render these raw numbers and measure nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.from != "" {
		return render(o)
	}
	b, err := open(ctx, o)
	if err != nil {
		return err
	}
	result, err := b.campaign(ctx)
	err = errors.Join(err, b.close(ctx))
	if result == nil {
		return err
	}
	fmt.Print("\n", result.Tables())
	if o.results != "" {
		raw, eerr := json.MarshalIndent(result, "", " ")
		if eerr != nil {
			return errors.Join(err, fmt.Errorf("encode the results: %w", eerr))
		}
		if werr := os.WriteFile(o.results, raw, 0o644); werr != nil {
			return errors.Join(err, fmt.Errorf("keep the results: %w", werr))
		}
	}
	if o.page == "" || err != nil {
		return err
	}
	if o.cells != "all" || o.phases != "all" || o.rounds < 3 {
		fmt.Printf("%s stays as it is: only three rounds or more of everything write it\n", o.page)
		return nil
	}
	return writePage(o, result)
}

// render makes the page of raw numbers that an earlier run kept.
func render(o options) error {
	raw, err := os.ReadFile(o.from)
	if err != nil {
		return fmt.Errorf("read the results: %w", err)
	}
	var result report.Run
	if err := json.Unmarshal(raw, &result); err != nil {
		return fmt.Errorf("read %s: %w", o.from, err)
	}
	if o.page == "" {
		fmt.Print(result.Tables())
		return nil
	}
	return writePage(o, &result)
}

func writePage(o options, result *report.Run) error {
	if err := os.WriteFile(filepath.Join(o.root, o.page), []byte(result.Markdown()), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	fmt.Println("wrote", o.page)
	return nil
}
