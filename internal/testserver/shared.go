package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The environment variables that name servers which already run.
const (
	PostgresEnv = "TESTSERVER_POSTGRES_URL" // of an administrator
	RedisEnv    = "TESTSERVER_REDIS_ADDR"   // host:port
)

// Postgres returns the URL of a new, empty database on the shared server and
// drops it at the end of the test. That server does not survive a crash of the
// machine: it runs without fsync.
func Postgres(t testing.TB) string {
	t.Helper()
	return database(t, "")
}

// database makes one for a test, with options of create database.
func database(t testing.TB, options string) string {
	t.Helper()
	server, err := sharedPostgres()
	if err != nil {
		t.Fatalf("start the shared postgresql: %v", err)
	}
	admin := server.where
	name := "test_" + strings.ToLower(rand.Text())
	u, err := inDatabase(admin, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(t.Context(), admin, "create database "+name+options); err != nil {
		t.Fatalf("create a database on the shared postgresql: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		// A test may have killed connections but not the server: force.
		if err := execute(ctx, admin, "drop database "+name+" with (force)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return u
}

// inDatabase is the URL of another database of the administrator's server.
func inDatabase(admin, name string) (string, error) {
	u, err := url.Parse(admin)
	if err != nil {
		return "", fmt.Errorf("%s: %w", PostgresEnv, err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// Redis returns the address of the shared server. Everybody sees the same
// keys: use a random prefix, never FLUSHALL. It writes nothing to disk.
func Redis(t testing.TB) string {
	t.Helper()
	server, err := sharedRedis()
	if err != nil {
		t.Fatalf("start the shared redis: %v", err)
	}
	return server.where
}

// Servers is one server of each kind, for the tests of many processes.
type Servers struct {
	p *postgres
	r *redis
}

// Start starts the servers to share.
func Start(ctx context.Context) (*Servers, error) { return startServers(ctx, false) }

// StartDurable starts servers that keep what they confirm, as in production:
// PostgreSQL with its defaults, Redis with an append-only file synced every
// second. Benchmarks run on them.
func StartDurable(ctx context.Context) (*Servers, error) { return startServers(ctx, true) }

func startServers(ctx context.Context, durable bool) (*Servers, error) {
	p, err := newPostgres(ctx, durable)
	if err != nil {
		return nil, fmt.Errorf("start postgresql: %w", err)
	}
	r, err := newRedis(ctx, durable)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start redis: %w", err), p.remove())
	}
	return &Servers{p: p, r: r}, nil
}

// Env says where they are, as NAME=value.
func (s *Servers) Env() []string {
	return []string{PostgresEnv + "=" + s.p.url("postgres"), RedisEnv + "=" + s.r.addr()}
}

// PostgresURL is of an administrator, in an empty database.
func (s *Servers) PostgresURL() string { return s.p.url("postgres") }

// RedisAddr is host:port.
func (s *Servers) RedisAddr() string { return s.r.addr() }

// PIDs are the process ids of the two servers.
func (s *Servers) PIDs() (postgres, redis int) { return s.p.proc.pid, s.r.proc.pid }

// Stop stops both and removes their data.
func (s *Servers) Stop() error { return errors.Join(s.p.remove(), s.r.remove()) }

// shared is a running server. It holds on to what keeps the server running: a
// collected pipe would close and tell the keeper to stop.
type shared struct {
	where string
	proc  *process // nil when somebody else runs it
}

// sharedPostgres and sharedRedis find or start the servers of this process.
// Their keepers stop them when the process ends.
//
//nolint:gochecknoglobals // once per test process is what the package is for
var (
	sharedPostgres = sync.OnceValues(func() (shared, error) {
		if u := os.Getenv(PostgresEnv); u != "" {
			return shared{where: u}, nil
		}
		p, err := newPostgres(context.Background(), false)
		if err != nil {
			return shared{}, err
		}
		return shared{where: p.url("postgres"), proc: p.proc}, nil
	})
	sharedRedis = sync.OnceValues(func() (shared, error) {
		if a := os.Getenv(RedisEnv); a != "" {
			return shared{where: a}, nil
		}
		r, err := newRedis(context.Background(), false)
		if err != nil {
			return shared{}, err
		}
		return shared{where: r.addr(), proc: r.proc}, nil
	})
)

func execute(ctx context.Context, u, sql string) error {
	conn, err := pgx.Connect(ctx, u)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}
