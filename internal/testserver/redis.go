package testserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a private Redis with an append-only file. Its methods fail
// the test when they cannot do what they say; they are for one goroutine.
type RedisServer struct {
	t testing.TB
	r *redis
}

// StartRedis starts a private Redis and stops it at the end of the test.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	r, err := newRedis(t.Context(), true)
	if err != nil {
		t.Fatalf("start redis: %v", err)
	}
	t.Cleanup(func() {
		if err := r.remove(); err != nil {
			t.Errorf("stop redis: %v", err)
		}
	})
	return &RedisServer{t: t, r: r}
}

// Addr is host:port; it stays the same over restarts.
func (s *RedisServer) Addr() string { return s.r.addr() }

// Kill ends it as a crash would (SIGKILL). What was acknowledged is in the
// append-only file.
func (s *RedisServer) Kill() { s.t.Helper(); s.must("kill", s.r.proc.kill()) }

// Stop ends it in order. Stopping it again does nothing.
func (s *RedisServer) Stop() { s.t.Helper(); s.must("stop", s.r.proc.stop()) }

// Start starts it again on the same port and data, and waits until it answers.
func (s *RedisServer) Start() { s.t.Helper(); s.must("start", s.r.start(s.t.Context())) }

// Pause freezes it: connections stay open and nothing answers.
func (s *RedisServer) Pause() { s.t.Helper(); s.must("pause", s.r.proc.signal(syscall.SIGSTOP)) }

// Resume ends a Pause.
func (s *RedisServer) Resume() { s.t.Helper(); s.must("resume", s.r.proc.signal(syscall.SIGCONT)) }

func (s *RedisServer) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s redis: %v", what, err)
	}
}

type redis struct {
	dir  string
	bin  string
	cred *syscall.Credential
	port int
	aof  bool
	proc *process
}

func newRedis(ctx context.Context, aof bool) (*redis, error) {
	bin, err := binary("redis-server")
	if err != nil {
		return nil, err
	}
	cred, err := dropTo()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir("", "securetag-redis-", cred)
	if err != nil {
		return nil, err
	}
	r := &redis{dir: dir, bin: bin, cred: cred, aof: aof}
	for range 3 { // somebody else may take the port before the server does
		if r.port, err = freePort(); err != nil {
			break
		}
		if err = r.start(ctx); err == nil {
			return r, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (r *redis) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

func (r *redis) start(ctx context.Context) error {
	aof := "no"
	if r.aof {
		aof = "yes"
	}
	log := filepath.Join(r.dir, "redis.log")
	p, err := startProcess(spec{
		dir: r.dir, signal: "TERM", cred: r.cred, log: log,
		argv: []string{r.bin, "--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", r.dir,
			"--appendonly", aof, "--save", "", "--maxmemory-policy", "noeviction", "--databases", "1024"},
	})
	if err != nil {
		return err
	}
	if err := p.waitReady(ctx, r.ping); err != nil {
		return errors.Join(fmt.Errorf("%w; its log ends:\n%s", err, logTail(log)), p.stop())
	}
	r.proc = p
	return nil
}

// ping speaks the protocol itself: the client library belongs to the adapter.
// It also checks that it is this server and not another that took the port.
func (r *redis) ping(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.addr())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Second)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if strings.TrimSpace(line) != "+PONG" { // -LOADING while it reads its file
		return fmt.Errorf("answered %.80q", line)
	}
	return nil
}

func (r *redis) remove() error { return errors.Join(r.proc.stop(), os.RemoveAll(r.dir)) }
