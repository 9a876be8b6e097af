package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/retention"
)

// openSweeper makes what removes what is old and what crashes left, of the
// database and on disk. The host serves meanwhile.
func (n *node) openSweeper(id *identity) (*retention.Sweeper, error) {
	left := []retention.Leftover{
		{What: "unfinished uploads", Sweep: func(ctx context.Context) error {
			_, err := n.blobs.Sweep(ctx)
			return err
		}},
		{What: "directories of dead hosts' plugins", Sweep: func(ctx context.Context) error {
			return sweepRunDirs(ctx, n.cfg.DataDir, id.slot)
		}},
	}
	if m := n.workspaces.disk; m != nil { // a host that runs jobs
		left = append(left, retention.Leftover{What: "workspaces of dead hosts", Sweep: m.Sweep})
	}
	if m := n.workspaces.memory; m != nil {
		left = append(left, retention.Leftover{What: "workspaces of dead hosts in memory", Sweep: m.Sweep})
	}
	cfg := sweeps(n.cfg)
	cfg.Meter = n.meter
	return retention.New(n.store, n.blobs, left, cfg, n.log)
}

// sweeps is what a configuration says of retention.
func sweeps(cfg config.Config) retention.Config {
	r := cfg.Retention
	return retention.Config{Scans: keep(cfg), Archives: r.Archives, Every: r.Sweep, Grace: orphanGrace(cfg)}
}

// orphanGrace is longer than any job may take, with an hour for clocks that
// differ and for uploads. Jobs keep the timeout they were accepted with, and one
// that was longer before the last change of the configuration has that hour too.
func orphanGrace(cfg config.Config) time.Duration {
	longest := time.Duration(0)
	for _, s := range cfg.Scans {
		longest = max(longest, s.Timeout)
	}
	return longest + time.Hour
}

// sweepRunDirs removes what the plugins of hosts on this data directory left
// that died and did not come back under their name. Whoever holds a name's lock
// may: no host lives under it then. One that starts in just that moment takes
// the next name, which costs it nothing but the jobs of its run before: they
// wait for their lease to run out.
func sweepRunDirs(ctx context.Context, dataDir string, own int) error {
	var errs []error
	for slot := range maxHosts {
		if slot != own && ctx.Err() == nil {
			errs = append(errs, sweepRunDir(dataDir, slot))
		}
	}
	return errors.Join(errs...)
}

func sweepRunDir(dataDir string, slot int) error {
	name := filepath.Join(dataDir, "hosts", strconv.Itoa(slot))
	key, err := os.ReadFile(name + ".id")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no host ever had it
	}
	if err != nil {
		return err
	}
	dir, err := runDir(dataDir, &identity{key: string(bytes.TrimSpace(key)), slot: slot})
	if err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) == 0 {
		return ignoreMissing(err)
	}
	lock, err := lockFile(name + ".lock")
	if errors.Is(err, host.ErrConflict) {
		return nil // alive
	}
	if err != nil {
		return fmt.Errorf("look whether host %d is alive: %w", slot, err)
	}
	defer lock.Close()
	return executor.RemoveRuns(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
