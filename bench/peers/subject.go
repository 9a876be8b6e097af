package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/bench/peers/load"
	"github.com/securetaghq/securetag/bench/peers/meter"
	"github.com/securetaghq/securetag/bench/peers/report"
)

// subject is a system during one round.
type subject struct {
	cell
	bench    *bench
	dir      string // new in each round
	database string
	addr     string
	args     []string // behind the server's and the worker's command line
	key      string   // API key, "" when none is asked for
	request  []byte
	ledger   ledger
	host     *process
	work     *process
	queued   bool // jobs wait for the worker, which does not run
}

// forgetPeers leaves nothing of the peer that ran before. Only Go peers make
// River's table.
const forgetPeers = `
truncate tasks;
do $$ begin
    if to_regclass('river_job') is not null then truncate river_job; end if;
end $$`

// newSubject sets up a system and starts nothing.
func (b *bench) newSubject(ctx context.Context, c cell, round int) (_ *subject, err error) {
	s := &subject{cell: c, bench: b, database: "peers", dir: filepath.Join(b.dir, fmt.Sprintf("%s-%d", c.Name, round))}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if s.addr, err = freeAddress(); err != nil {
		return nil, err
	}
	if c.Kind == report.SecureTag {
		err = s.setUpOwn(ctx)
	} else {
		err = b.inDatabase(ctx, s.database, forgetPeers)
	}
	if err != nil {
		return nil, err
	}
	if s.request, err = load.Request(s.addr, s.key, b.archive); err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	return s, s.openLedger(ctx)
}

func (s *subject) openLedger(ctx context.Context) error {
	if s.embedded {
		api, err := client.New("http://"+s.addr, s.key, client.Options{})
		s.ledger = &apiLedger{client: api}
		return err
	}
	conn, err := pgx.Connect(ctx, s.bench.databaseURL(s.database))
	if err != nil {
		return fmt.Errorf("connect to the system's database: %w", err)
	}
	d := &database{Conn: conn, tables: peerTables()}
	if s.Kind == report.SecureTag {
		d.tables = ownTables()
	}
	s.ledger = d
	return nil
}

func (s *subject) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(s.work.stop(), s.host.stop(), s.ledger.close(ctx))
}

func (s *subject) startServer(ctx context.Context) (err error) {
	s.host, err = s.start(ctx, s.server, "server")
	return err
}

// startWorker does nothing for a system of one process.
func (s *subject) startWorker(ctx context.Context) (err error) {
	if s.worker == nil || s.work != nil {
		return nil
	}
	s.work, err = s.start(ctx, s.worker, "worker")
	return err
}

func (s *subject) stopWorker() error {
	err := s.work.stop()
	s.work = nil
	return err
}

func (s *subject) start(ctx context.Context, argv []string, half string) (*process, error) {
	argv = slices.Concat(argv, s.args)
	if s.Kind == report.SecureTag && half == "server" {
		argv = append(argv, "--listen", s.addr)
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return nil, err
	}
	env := slices.Concat(s.env, []string{"HTTP_PORT=" + port, "UPLOAD_DIR=" + s.dir,
		"DATABASE_URL=" + s.bench.databaseURL(s.database), "REDIS_ADDR=" + s.bench.servers.RedisAddr()})
	return start(ctx, argv, env, filepath.Join(s.dir, half+".log"), s.ready)
}

// groups are everybody's processes and the system's own, with its plugins.
func (s *subject) groups() []meter.Group {
	all := s.bench.groups()
	for name, p := range map[string]*process{"host": s.host, "worker": s.work} {
		if p == nil {
			continue
		}
		g := meter.Group{Name: name, PID: p.pid()}
		if s.Kind == report.SecureTag {
			g.Below = "plugin"
		}
		all = append(all, g)
	}
	return all
}

// peaks are of the processes that the system started itself.
func (s *subject) peaks() map[string]float64 {
	all := map[string]float64{}
	for name, p := range map[string]*process{"host": s.host, "worker": s.work} {
		if p != nil {
			_, all[name] = meter.Memory(p.pid())
		}
	}
	return all
}

// await waits until n uploads have ended well.
func (s *subject) await(ctx context.Context, n int, longest time.Duration) error {
	return s.awaitEvery(ctx, n, longest, pollEvery)
}

// awaitEvery is for tables where counting takes long.
func (s *subject) awaitEvery(ctx context.Context, n int, longest, every time.Duration) error {
	done := 0
	err := poll(ctx, longest, every, func() (_ bool, err error) {
		_, done, err = s.ledger.count(ctx)
		return done >= n, err
	})
	if err != nil {
		return fmt.Errorf("wait for %d jobs, of which %d are done: %w", n, done, err)
	}
	return nil
}
