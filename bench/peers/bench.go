package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/internal/testserver"
)

// bench is what all systems share: the servers, and a directory.
type bench struct {
	options
	root    string // absolute
	dir     string
	servers *testserver.Servers
	admin   *pgx.Conn // to the empty database of the server
	redis   *redis.Client
	archive []byte
	cells   []cell
	phases  map[string]bool
	copies  int // databases made so far
	seeded  map[int]*seeded
}

// open builds what is measured and starts the servers.
func open(ctx context.Context, o options) (_ *bench, err error) {
	b := &bench{options: o, seeded: map[int]*seeded{}}
	if b.root, err = filepath.Abs(o.root); err != nil {
		return nil, err
	}
	if b.phases, err = choosePhases(o.phases); err != nil {
		return nil, err
	}
	if b.dir, err = workDir(o.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	if b.cells, err = b.chooseCells(ctx); err != nil {
		return nil, err
	}
	if b.archive, err = load.Zip(10 << 10); err != nil {
		return nil, fmt.Errorf("make the archive: %w", err)
	}
	// The servers' data goes where everything else is.
	if err := os.Setenv("TMPDIR", b.dir); err != nil {
		return nil, err
	}
	if b.servers, err = testserver.StartDurable(ctx); err != nil {
		return nil, err
	}
	if b.admin, err = pgx.Connect(ctx, b.servers.PostgresURL()); err != nil {
		return nil, fmt.Errorf("connect to the new PostgreSQL: %w", err)
	}
	b.redis = redis.NewClient(&redis.Options{Addr: b.servers.RedisAddr()})
	return b, b.preparePeers(ctx)
}

// workDir makes the directory of everything that the run writes. On ext4, T
// gives each directory below it a part of the disk of its own.
func workDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "securetag-bench-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the servers run as another user
		return "", fmt.Errorf("open the directory: %w", err)
	}
	if kind := fileSystem(dir); kind == "tmpfs" {
		return "", errors.Join(fmt.Errorf("%s is in memory, where a sync costs nothing: name a directory on a disk with DIR=", dir), os.RemoveAll(dir))
	}
	_ = exec.Command("chattr", "+T", dir).Run() // other file systems do not have it
	return dir, nil
}

func (b *bench) close(ctx context.Context) error {
	var errs []error
	if b.redis != nil {
		errs = append(errs, b.redis.Close())
	}
	if b.admin != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		errs = append(errs, b.admin.Close(ctx))
	}
	if b.servers != nil {
		errs = append(errs, b.servers.Stop())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// groups are the processes that every system has a share in.
func (b *bench) groups() []meter.Group {
	pg, rd := b.servers.PIDs()
	return []meter.Group{{Name: "postgres", PID: pg}, {Name: "redis", PID: rd}, {Name: "load", PID: os.Getpid()}}
}

// newDatabase makes a database, a copy of template unless that is "".
func (b *bench) newDatabase(ctx context.Context, template string) (name string, err error) {
	b.copies++
	name = "bench_" + strconv.Itoa(b.copies)
	sql := "create database " + name
	if template != "" {
		sql += " template " + template
		var version int
		if err := b.admin.QueryRow(ctx, `select current_setting('server_version_num')::int`).Scan(&version); err != nil {
			return "", fmt.Errorf("ask PostgreSQL for its version: %w", err)
		}
		if version >= 150000 { // before, it always copied files
			sql += " strategy file_copy"
		}
	}
	if _, err := b.admin.Exec(ctx, sql); err != nil {
		return "", fmt.Errorf("make a database: %w", err)
	}
	return name, nil
}

func (b *bench) databaseURL(name string) string {
	u, err := url.Parse(b.servers.PostgresURL())
	if err != nil {
		panic(err) // testserver made it
	}
	u.Path = "/" + name
	return u.String()
}

// inDatabase runs statements that belong together.
func (b *bench) inDatabase(ctx context.Context, name, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, b.databaseURL(name))
	if err != nil {
		return fmt.Errorf("connect to database %s: %w", name, err)
	}
	_, err = conn.Exec(ctx, sql, args...)
	return errors.Join(err, conn.Close(ctx))
}

// calm leaves nothing of what ran before: Redis empty, everything on disk.
func (b *bench) calm(ctx context.Context) error {
	if err := b.redis.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty Redis: %w", err)
	}
	if err := b.redis.BgRewriteAOF(ctx).Err(); err != nil && !strings.Contains(err.Error(), "in progress") {
		return fmt.Errorf("rewrite the file of Redis: %w", err)
	}
	if _, err := b.admin.Exec(ctx, "checkpoint"); err != nil {
		return fmt.Errorf("checkpoint PostgreSQL: %w", err)
	}
	syscall.Sync()
	return poll(ctx, 30*time.Second, pollEvery, func() (bool, error) {
		info, err := b.redis.Info(ctx, "persistence").Result()
		return strings.Contains(info, "aof_rewrite_in_progress:0"), err
	})
}

const pollEvery = 100 * time.Millisecond

// poll asks until the answer is yes.
func poll(ctx context.Context, longest, every time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("not within %v", longest))
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
