package testserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/internal/testserver"
)

// ownerEnv makes the test binary an owner of servers that waits to be killed.
const ownerEnv = "SECURETAG_TESTSERVER_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) != "" {
		own()
	}
	goleak.VerifyTestMain(m)
}

func own() {
	s, err := testserver.Start(context.Background())
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(s.Env(), "\n"))
	select {}
}

func TestPostgresGivesEachTestItsOwnDatabase(t *testing.T) {
	t.Parallel()
	one, two := testserver.Postgres(t), testserver.Postgres(t)
	query(t, one, "create table only_here (n int)")
	if n := query(t, two, "select count(*) from pg_class where relname = 'only_here'"); n != 0 {
		t.Errorf("the second database has the first one's table")
	}
	if n := query(t, one, "select count(*) from pg_class where relname = 'only_here'"); n != 1 {
		t.Errorf("the table is not where it was made")
	}
}

func TestPostgresDropsItsDatabase(t *testing.T) {
	t.Parallel()
	other := testserver.Postgres(t)
	var name string
	t.Run("user", func(t *testing.T) {
		u := testserver.Postgres(t)
		conn, err := pgx.Connect(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		// Left open on purpose: the drop must not care.
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		name = conn.Config().Database
	})
	if n := query(t, other, "select count(*) from pg_database where datname = '"+name+"'"); n != 0 {
		t.Errorf("database %s is still there", name)
	}
}

func TestSharedServersOutliveGarbageCollection(t *testing.T) {
	t.Parallel()
	addr := testserver.Redis(t)
	runtime.GC()
	runtime.GC() // the second runs what the first found unreachable
	again := testserver.Redis(t)
	if addr != again {
		t.Errorf("two addresses: %s and %s", addr, again)
	}
	if err := client(t, addr).Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestRedisKeepsAcknowledgedWritesOverKill(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	c := client(t, s.Addr())
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("answers after Kill")
	}
	s.Start()
	if v, err := c.Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("after Kill and Start: %q, %v", v, err)
	}
	s.Stop()
	s.Stop()
	s.Start()
	if v, err := c.Get(t.Context(), "k").Result(); err != nil || v != "v" {
		t.Errorf("after Stop and Start: %q, %v", v, err)
	}
}

func TestRedisPause(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	c := client(t, s.Addr())
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("answers while paused")
	}
	s.Resume()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	s.Pause() // and leave it so: the end of the test must still stop it
}

func TestPostgresKeepsCommittedRowsOverKill(t *testing.T) {
	t.Parallel()
	s := testserver.StartPostgres(t)
	query(t, s.URL(), "create table t as select 1 as n")
	s.Kill()
	if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
		t.Error("answers after Kill")
	}
	s.Start()
	if n := query(t, s.URL(), "select count(*) from t"); n != 1 {
		t.Errorf("%d rows after Kill and Start, want 1", n)
	}
}

func TestServersEndWithTheirOwner(t *testing.T) {
	t.Parallel()
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"=1", "TMPDIR="+openTempDir(t))
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	at := map[string]string{}
	for len(at) < 2 && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		at[name] = value
	}
	pg, addr := at[testserver.PostgresEnv], at[testserver.RedisEnv]
	if pg == "" || addr == "" {
		t.Fatalf("the owner said %v", at)
	}
	data := dataOf(t, pg)
	if _, err := os.Stat(data); err != nil {
		t.Errorf("the data of the shared postgresql: %v", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := owner.Wait(); !errors.As(err, &killed) {
		t.Fatalf("wait for the owner: %v", err)
	}
	cfg, err := pgx.ParseConfig(pg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "redis ends", func() bool { return !listens(addr) })
	eventually(t, "postgresql ends", func() bool { return !listens(fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)) })
	dir := owner.Env[len(owner.Env)-1][len("TMPDIR="):]
	eventually(t, "their data is removed", func() bool {
		left, err := os.ReadDir(dir)
		_, gone := os.Stat(filepath.Dir(data)) // may be in memory, beside that directory
		return err == nil && len(left) == 0 && errors.Is(gone, fs.ErrNotExist)
	})
}

// dataOf is the directory of a server's data.
func dataOf(t *testing.T, url string) (dir string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(t.Context(), "show data_directory").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCommand(t *testing.T) {
	t.Parallel()
	bin := t.TempDir() + "/testserver"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-race", "-trimpath", "-o", bin, "./cmd/testserver").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	for name, tt := range map[string]struct {
		args []string
		out  string
		code int
	}{
		"code of the command":   {[]string{"--", "sh", "-c", "echo $TESTSERVER_POSTGRES_URL $TESTSERVER_REDIS_ADDR; exit 7"}, "postgres://", 7},
		"signal of the command": {[]string{"sh", "-c", "kill -TERM $$"}, "", 143},
		"forwarded signal":      {[]string{"sh", "-c", "trap 'echo heard; exit 3' INT; kill -INT $PPID; while :; do sleep 0.01; done"}, "heard", 3},
		"nothing to run":        {nil, "usage", 2},
		"no such command":       {[]string{"/no/such"}, "no such file", 127},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), bin, tt.args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.code {
				t.Errorf("ended with %v, want code %d: %s", err, tt.code, out)
			}
			if !strings.Contains(string(out), tt.out) {
				t.Errorf("printed %q, want %q in it", out, tt.out)
			}
		})
	}
}

// openTempDir is a temporary directory that other users may enter.
func openTempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "owner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func query(t *testing.T, url, sql string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	n := 0
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func client(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func listens(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited 30 s in vain: %s", what)
		}
	}
}

func TestTemplateIsCopied(t *testing.T) {
	t.Parallel()
	filled, name := 0, ""
	template := testserver.NewTemplate(func(ctx context.Context, url string) error {
		filled++
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		name = conn.Config().Database
		_, err = conn.Exec(ctx, "create table made (n int); insert into made values (1)")
		return errors.Join(err, conn.Close(ctx))
	})
	if err := template.Drop(t.Context()); err != nil {
		t.Errorf("drop one that was never made: %v", err)
	}
	one, two := template.Postgres(t), template.Postgres(t)
	query(t, one, "insert into made values (2) returning n")
	if n := query(t, two, "select count(*) from made"); n != 1 {
		t.Errorf("a copy has %d rows, its template one", n)
	}
	if err := template.Drop(t.Context()); err != nil {
		t.Error(err)
	}
	if filled != 1 {
		t.Errorf("filled %d times", filled)
	}
	if n := query(t, one, "select count(*) from pg_database where datname = '"+name+"'"); n != 0 {
		t.Errorf("the template is still there")
	}
}
