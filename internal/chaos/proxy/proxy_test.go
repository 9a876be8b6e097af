package proxy_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/internal/chaos/proxy"
	"github.com/securetaghq/securetag/internal/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, p *proxy.Proxy, err error) *proxy.Proxy {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestRedis(t *testing.T) {
	t.Parallel()
	addr := testserver.StartRedis(t).Addr()
	p, err := proxy.Redis(addr, proxy.Loss{Name: "add", Match: "xadd", Every: 2, Most: 1})
	serve(t, p, err)
	for _, version := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1, Protocol: version})
		defer c.Close()
		for i := range 3 {
			if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"k", "v"}}).Err(); err != nil {
				t.Errorf("version %d, entry %d before it is armed: %v", version, i, err)
			}
		}
	}
	p.Arm()
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1})
	defer c.Close()
	failed := 0
	for range 6 {
		if c.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"k", "v"}}).Err() != nil {
			failed++
		}
	}
	n, err := c.XLen(t.Context(), "s").Result()
	if err != nil || n != 12 || failed != 1 || p.Lost()["add"] != 1 {
		t.Errorf("%d entries (%v), %d failed, lost %v: want 12 entries of which one failed", n, err, failed, p.Lost())
	}
	if v, err := c.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "none", Consumer: "c", Streams: []string{"s", ">"}, Block: 1}).Result(); err == nil {
		t.Errorf("an error of the server came through as %v", v)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	direct := testserver.Postgres(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.Postgres(u.Host,
		proxy.Loss{Name: "insert", Match: "insert into", Every: 3, Most: 1},
		proxy.Loss{Name: "commit", Match: "commit", Every: 1, Most: 1})
	serve(t, p, err)
	u.Host = p.Addr()
	connect := func(where string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	conn := connect(u.String())
	if _, err := conn.Exec(t.Context(), `create table t (n int)`); err != nil {
		t.Fatal(err)
	}
	p.Arm()
	for i := range 3 {
		b := &pgx.Batch{}
		b.Queue(`insert into t values ($1)`, i)
		b.Queue(`select count(*) from t`)
		if err := conn.SendBatch(t.Context(), b).Close(); (err != nil) != (i == 2) {
			t.Errorf("batch %d: %v; the third reply is to be lost", i, err)
		}
	}
	conn = connect(u.String())
	if err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into t values (9)`)
		return err
	}); err == nil {
		t.Error("the reply to COMMIT came through")
	}
	var n int
	if err := connect(direct).QueryRow(t.Context(), `select count(*) from t`).Scan(&n); err != nil || n != 4 {
		t.Errorf("%d rows (%v), want all 4 stored", n, err)
	}
}
