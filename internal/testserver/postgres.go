package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/internal/spread"
)

// PostgresServer is a private PostgreSQL with its durability left on. Its
// methods fail the test when they cannot do what they say; they are for one
// goroutine.
type PostgresServer struct {
	t testing.TB
	p *postgres
}

// StartPostgres starts a private PostgreSQL and stops it at the end of the test.
func StartPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	p, err := newPostgres(t.Context(), true)
	if err != nil {
		t.Fatalf("start postgresql: %v", err)
	}
	t.Cleanup(func() {
		if err := p.remove(); err != nil {
			t.Errorf("stop postgresql: %v", err)
		}
	})
	return &PostgresServer{t: t, p: p}
}

// URL names an empty database on it; it stays the same over restarts.
func (s *PostgresServer) URL() string { return s.p.url("postgres") }

// Kill ends it as a crash would (SIGKILL).
func (s *PostgresServer) Kill() { s.t.Helper(); s.must("kill", s.p.proc.kill()) }

// Stop ends it in order, dropping its connections. Stopping it again does nothing.
func (s *PostgresServer) Stop() { s.t.Helper(); s.must("stop", s.p.proc.stop()) }

// Start starts it again on the same port and data, and waits until it answers.
func (s *PostgresServer) Start() { s.t.Helper(); s.must("start", s.p.start(s.t.Context())) }

func (s *PostgresServer) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s postgresql: %v", what, err)
	}
}

type postgres struct {
	dir      string
	bin      string
	cred     *syscall.Credential
	port     int
	password string
	durable  bool
	proc     *process
}

func newPostgres(ctx context.Context, durable bool) (*postgres, error) {
	bin, err := binary("postgres")
	if err != nil {
		return nil, err
	}
	cred, err := dropTo()
	if err != nil {
		return nil, err
	}
	parent := ""
	if !durable {
		parent = inMemory()
	}
	dir, err := tempDir(parent, "securetag-postgres-", cred)
	if err != nil {
		return nil, err
	}
	// A password, because loopback is open to every user of the machine.
	p := &postgres{dir: dir, bin: bin, cred: cred, durable: durable, password: rand.Text()}
	if err := p.initdb(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for range 3 { // somebody else may take the port before the server does
		if p.port, err = freePort(); err != nil {
			break
		}
		if err = p.start(ctx); err == nil {
			return p, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) initdb(ctx context.Context) error {
	initdb, err := binary("initdb")
	if err != nil {
		return err
	}
	pwfile := filepath.Join(p.dir, "password")
	if err := os.WriteFile(pwfile, []byte(p.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if p.cred != nil {
		if err := os.Chown(pwfile, int(p.cred.Uid), int(p.cred.Gid)); err != nil {
			return fmt.Errorf("give the password away: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, initdb, "--pgdata", p.data(), "--username", "securetag", "--pwfile", pwfile,
		"--auth", "md5", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir, cmd.Env = p.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Tests make and drop databases by the dozen, of some hundred files each.
	spread.Out(filepath.Join(p.data(), "base"))
	return nil
}

func (p *postgres) start(ctx context.Context) error {
	log := filepath.Join(p.dir, "postgres.log")
	argv := []string{p.bin, "-D", p.data(), "-p", strconv.Itoa(p.port), "-k", "", "-c", "listen_addresses=127.0.0.1",
		"-c", "max_connections=200", "-c", "log_min_messages=warning", "-c", "timezone=UTC"}
	if !p.durable {
		argv = append(argv, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
			"-c", "max_wal_size=256MB") // where it may be in memory
	}
	// INT is PostgreSQL's fast shutdown: it does not wait for clients.
	proc, err := startProcess(spec{dir: p.dir, signal: "INT", cred: p.cred, log: log, argv: argv})
	if err != nil {
		return err
	}
	if err := proc.waitReady(ctx, p.ping); err != nil {
		return errors.Join(fmt.Errorf("%w; its log ends:\n%s", err, logTail(log)), proc.stop())
	}
	p.proc = proc
	return nil
}

// ping connects with this server's own password, so another one that took the
// port does not pass for it.
func (p *postgres) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return conn.Close(ctx)
}

func (p *postgres) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("securetag", p.password), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), RawQuery: "sslmode=disable"}
	return u.String()
}

func (p *postgres) remove() error { return errors.Join(p.proc.stop(), os.RemoveAll(p.dir)) }
