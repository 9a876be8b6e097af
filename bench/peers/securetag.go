package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/peer"
	"github.com/securetaghq/securetag/bench/peers/report"
	"github.com/securetaghq/securetag/bench/peers/stats"
)

// ownConfig takes data directory, Redis, "" for the embedded one, slots and the
// plugin's executable. The file database.url is empty for the embedded database.
// Everything else has its default. The plan has every limit that there is, none
// of which is ever reached.
const ownConfig = `
data_dir = %q
database { url = file("database.url") }
redis { url = %q }
worker { slots = %d }
scan "codeaudit" { plugins = ["noop"] }
plugin "noop" {
  command   = %q
  dev       = true
  isolation = "shared"
}
plan "far" {
  request_rate    = "1000000/1s"
  upload_rate     = "1000000/1s"
  archive_size    = "50MiB"
  unpacked_size   = "1GiB"
  storage_quota   = "1024TiB"
  scans_per_day   = 100000000
  queued_scans    = 10000000
  concurrent_jobs = 1000000
  findings        = 25000
  artifacts       = "64MiB"
}
`

// setUpOwn gives SecureTag a database, a tenant and a key.
func (s *subject) setUpOwn(ctx context.Context) (err error) {
	if !s.embedded {
		if s.database, err = s.bench.newDatabase(ctx, ""); err != nil {
			return err
		}
	}
	if err := s.configure(filepath.Join(s.dir, "data")); err != nil {
		return err
	}
	plan := "far"
	if s.unlimited {
		plan = "default"
	}
	if _, err := s.verb(ctx, "tenant", "create", "bench", "--plan", plan); err != nil {
		return err
	}
	key, err := s.verb(ctx, "key", "create", "--tenant", "bench")
	s.key = strings.TrimSpace(key)
	return err
}

func (s *subject) configure(data string) error {
	b := s.bench
	path := filepath.Join(s.dir, "securetag.hcl")
	s.args = []string{"--config", path}
	database, redis := b.databaseURL(s.database), "redis://"+b.servers.RedisAddr()
	if s.embedded {
		database, redis = "", ""
	}
	text := fmt.Sprintf(ownConfig, data, redis, peer.Slots,
		filepath.Join(b.root, "bin", "plugins", "noop"))
	err := os.WriteFile(filepath.Join(s.dir, "database.url"), []byte(database), 0o600) // it has a password
	if err = errors.Join(err, os.WriteFile(path, []byte(text), 0o600)); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// verb runs one of the command line's verbs and returns what it prints.
func (s *subject) verb(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.server[0], append(args, s.args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("securetag %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

const (
	smallBacklog  = 10_000
	seededTenants = 1000
)

// seeded is a database with a backlog, to be copied, and the data directory
// with the archive that all its scans name.
type seeded struct{ database, data string }

//go:embed seed_keep.sql
var keepAccepted string

//go:embed seed.sql
var seedSQL string

// seed makes a backlog of n jobs, once.
func (b *bench) seed(ctx context.Context, c cell, n int) (_ *seeded, err error) {
	if s := b.seeded[n]; s != nil {
		return s, nil
	}
	began := time.Now()
	s, err := b.newSubject(ctx, c, -n) // no round has that number
	if err != nil {
		return nil, err
	}
	if err := b.inDatabase(ctx, s.database, keepAccepted); err != nil {
		return nil, errors.Join(fmt.Errorf("keep what is accepted: %w", err), s.close(ctx))
	}
	err = s.startServer(ctx)
	if err == nil {
		_, err = load.Run(ctx, s.addr, s.request, 1, 1)
	}
	if err == nil {
		err = s.await(ctx, 1, longest)
	}
	if err := errors.Join(err, s.close(ctx)); err != nil {
		return nil, fmt.Errorf("accept the scan to copy: %w", err)
	}
	sql := strings.NewReplacer("@jobs@", strconv.Itoa(n), "@tenants@", strconv.Itoa(seededTenants)).Replace(seedSQL)
	if err := b.inDatabase(ctx, s.database, sql); err != nil {
		return nil, fmt.Errorf("seed a backlog of %d: %w", n, err)
	}
	// As a database is that has had a backlog for a while.
	if err := b.inDatabase(ctx, s.database, "vacuum analyze"); err != nil {
		return nil, fmt.Errorf("vacuum the backlog: %w", err)
	}
	// Writing a million rows out is not part of draining them.
	if _, err := b.admin.Exec(ctx, "checkpoint"); err != nil {
		return nil, fmt.Errorf("write the backlog out: %w", err)
	}
	fmt.Printf("%s  seeded a backlog of %d in %.0f s\n", began.Format(time.TimeOnly), n, time.Since(began).Seconds())
	b.seeded[n] = &seeded{database: s.database, data: filepath.Join(s.dir, "data")}
	return b.seeded[n], nil
}

// measureSeeded starts SecureTag on backlogs of both sizes.
func (b *bench) measureSeeded(ctx context.Context, c cell, round int, r *report.Result) (err error) {
	for _, size := range []struct {
		phase string
		jobs  int
		until int
		into  **report.Drain
	}{
		{"backlog", smallBacklog, smallBacklog, &r.Backlog},
		{"large", b.large, min(report.LaterTo+1, b.large), &r.Large},
	} {
		if !b.phases[size.phase] {
			continue
		}
		for attempt := range b.attempts {
			d, err := b.drain(ctx, c, size.jobs, size.until, fmt.Sprintf("%s-%d-%d", size.phase, round, attempt))
			if err != nil {
				return fmt.Errorf("drain %d: %w", size.jobs, err)
			}
			*size.into = d
			if !d.Disturbed() {
				break
			}
		}
	}
	return nil
}

// drain starts SecureTag on a copy of a backlog until that many jobs are done.
func (b *bench) drain(ctx context.Context, c cell, jobs, until int, name string) (_ *report.Drain, err error) {
	from, err := b.seed(ctx, c, jobs)
	if err != nil {
		return nil, err
	}
	s := &subject{cell: c, bench: b, dir: filepath.Join(b.dir, name)}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if s.addr, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.database, err = b.newDatabase(ctx, from.database); err != nil {
		return nil, err
	}
	if err := s.configure(from.data); err != nil {
		return nil, err
	}
	if err := s.openLedger(ctx); err != nil {
		return nil, err
	}
	defer func() {
		// Copies of a large backlog would fill the disk. An interrupted run has no
		// use for the rest either.
		if ctx.Err() != nil {
			return
		}
		_, derr := b.admin.Exec(ctx, "drop database "+s.database+" with (force)")
		err = errors.Join(err, derr)
	}()
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if err := b.calm(ctx); err != nil {
		return nil, err
	}
	d := &report.Drain{Queued: jobs}
	d.Common, err = s.during(0, func() error {
		if err := s.startServer(ctx); err != nil {
			return err
		}
		every := pollEvery
		if jobs > smallBacklog {
			every = 5 * time.Second // counting reads the whole table
		}
		return s.awaitEvery(ctx, until, 4*longest, every)
	})
	if err != nil {
		return nil, err
	}
	ends, err := b.ends(ctx, s.database)
	if err != nil {
		return nil, err
	}
	d.Jobs = len(ends)
	d.PerSec = stats.Rate(ends, report.WindowFrom, report.WindowTo)
	d.Later = stats.Rate(ends, report.WindowFrom, report.LaterTo)
	return d, nil
}

// ends are the times of all ends, in order.
func (b *bench) ends(ctx context.Context, name string) ([]time.Time, error) {
	conn, err := pgx.Connect(ctx, b.databaseURL(name))
	if err != nil {
		return nil, fmt.Errorf("connect to the system's database: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select finished_at from scans where finished_at is not null order by finished_at`)
	if err != nil {
		return nil, fmt.Errorf("ask for the ends: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("ask for the ends: %w", err)
	}
	return all, nil
}
