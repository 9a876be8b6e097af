package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/bench/peers/report"
)

// cell is a system in one configuration.
type cell struct {
	report.Cell
	// server and worker are command lines; a system of one process has no worker.
	server, worker []string
	env            []string
	ready          string // what each prints once it serves
	embedded       bool   // SecureTag without PostgreSQL and Redis
	unlimited      bool   // its tenant has no plan; else it has one with every limit
}

// allCells are the systems in the order of the tables. Tuned ones have the one
// setting changed that helps them most here; the others have their defaults.
func (b *bench) allCells() []cell {
	var (
		built   = filepath.Join(b.root, "bin")
		express = filepath.Join(b.dir, "express")
		own     = []string{filepath.Join(built, "securetag"), "serve"}
	)
	peer := func(kind report.Kind, name, title string, server, worker []string, env ...string) cell {
		return cell{Cell: report.Cell{Name: name, Title: title, Kind: kind}, server: server, worker: worker, env: env,
			ready: "ready\n"}
	}
	node := func(name, title string, env ...string) cell {
		env = append(env, "NODE_ENV=production")
		return peer(report.Express, name, title, []string{"node", filepath.Join(express, "server.mjs")}, []string{"node", filepath.Join(express, "worker.mjs")}, env...)
	}
	golang := func(bin, name, title string, env ...string) cell {
		bin = filepath.Join(b.dir, "bin", bin)
		return peer(report.Go, name, title, []string{bin, "server"}, []string{bin, "worker"}, env...)
	}
	securetag := func(name, title string, server, worker []string) cell {
		return cell{Cell: report.Cell{Name: name, Title: title, Kind: report.SecureTag}, server: server, worker: worker, ready: `"serving"`}
	}
	embedded := securetag("securetag-embedded", "SecureTag, embedded default (SQLite, nothing to install)", own, nil)
	embedded.embedded = true
	unlimited := securetag(report.Unlimited, "SecureTag, a tenant without limits", own, nil)
	unlimited.unlimited = true
	return []cell{
		securetag(report.Ours, "SecureTag", own, nil),
		unlimited,
		embedded,
		securetag("securetag-split", "SecureTag, API and worker apart", slices.Concat(own, []string{"--role", "api"}), slices.Concat(own, []string{"--role", "worker"})),
		node("express", "Express + BullMQ"),
		node("express-tuned", "Express + BullMQ, removes finished jobs", "BULL_KEEP=0"),
		golang("asynqpeer", "asynq", "asynq"),
		golang("asynqpeer", "asynq-tuned", "asynq, asks every 5 ms", "TASK_CHECK_INTERVAL=5ms"),
		golang("riverpeer", "river", "River"),
		golang("riverpeer", "river-tuned", "River, fetches every 1 ms", "FETCH_COOLDOWN=1ms"),
	}
}

// chooseCells picks those that the command line names. All leaves out what the
// built binary cannot do.
func (b *bench) chooseCells(ctx context.Context) ([]cell, error) {
	all := b.allCells()
	switch b.options.cells {
	case "all":
		help, err := exec.CommandContext(ctx, filepath.Join(b.root, "bin", "securetag"), "serve", "--help").Output()
		if err != nil {
			return nil, fmt.Errorf("run bin/securetag, which `make build` makes: %w", err)
		}
		if strings.Contains(string(help), "--role") {
			return all, nil
		}
		return slices.DeleteFunc(all, func(c cell) bool { return c.Name == "securetag-split" }), nil
	case "peers":
		return slices.DeleteFunc(all, func(c cell) bool { return c.Kind == report.SecureTag }), nil
	}
	var chosen []cell
	for name := range strings.SplitSeq(b.options.cells, ",") {
		i := slices.IndexFunc(all, func(c cell) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no system %q: take all, peers, or some of %s", name, strings.Join(names(all), ","))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names(cells []cell) []string {
	var all []string
	for _, c := range cells {
		all = append(all, c.Name)
	}
	return all
}

//go:embed peers.sql
var peerSchema string

// preparePeers builds the peers that take part and makes their tables.
func (b *bench) preparePeers(ctx context.Context) error {
	has := func(k report.Kind) bool {
		return slices.ContainsFunc(b.cells, func(c cell) bool { return c.Kind == k })
	}
	if !has(report.Express) && !has(report.Go) {
		return nil
	}
	if _, err := b.admin.Exec(ctx, "create database peers"); err != nil {
		return fmt.Errorf("make the peers' database: %w", err)
	}
	if err := b.inDatabase(ctx, "peers", peerSchema); err != nil {
		return err
	}
	if has(report.Go) {
		for _, name := range []string{"asynqpeer", "riverpeer"} {
			if err := command(ctx, filepath.Join(b.root, "bench", "peers"), "go", "build", "-o", filepath.Join(b.dir, "bin", name), "./"+name); err != nil {
				return err
			}
		}
		river := exec.CommandContext(ctx, filepath.Join(b.dir, "bin", "riverpeer"), "migrate")
		river.Env = append(os.Environ(), "DATABASE_URL="+b.databaseURL("peers"))
		if out, err := river.CombinedOutput(); err != nil {
			return fmt.Errorf("make River's tables: %w: %s", err, out)
		}
	}
	if !has(report.Express) {
		return nil
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("express needs Node.js 20 or newer with npm: install it, or leave express out with CELLS=")
	}
	if err := os.CopyFS(filepath.Join(b.dir, "express"), os.DirFS(filepath.Join(b.root, "bench", "peers", "express"))); err != nil {
		return fmt.Errorf("copy express: %w", err)
	}
	return command(ctx, filepath.Join(b.dir, "express"), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
