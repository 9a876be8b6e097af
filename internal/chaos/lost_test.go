package chaos_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/chaos/proxy"
)

// What the statements have in them that renew leases and store results.
const (
	heartbeatSQL = "set lease_expires_at = now()"
	finishSQL    = "with held as (\n    select j.id, j.scan_id"
)

// What is in the requests whose replies are lost. Every one must be met, so
// that a statement which changes is noticed here.
var (
	redisLosses = []proxy.Loss{
		{Name: "XADD", Match: "\r\nxadd\r\n", Every: 7, Most: 6},
		{Name: "XREADGROUP", Match: "\r\nxreadgroup\r\n", Every: 9, Most: 4},
		{Name: "XACK", Match: "\r\nxack\r\n", Every: 8, Most: 5},
	}
	postgresLosses = []proxy.Loss{
		{Name: "accept", Match: "insert into scans", Every: 9, Most: 6},
		{Name: "dispatch", Match: "set dispatched_at = now() where id = any(array(select id from locked where not mine))", Every: 12, Most: 4},
		{Name: "claim", Match: "coalesce(dispatched_at, '-infinity') > '-infinity'", Every: 10, Most: 4},
		{Name: "heartbeat", Match: heartbeatSQL, Every: 3, Most: 6},
		{Name: "finish", Match: finishSQL, Every: 5, Most: 8},
		{Name: "findings", Match: "select count(*) from held", Every: 6, Most: 4},
		{Name: "COMMIT", Match: "commit", Every: 3, Most: 6},
	}
)

// TestLostReplies: the server did what it was asked, and nobody heard of it.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	var proxies []*proxy.Proxy
	through := func(p *proxy.Proxy, err error) string {
		proxies = append(proxies, serve(t, p, err))
		return p.Addr()
	}
	var toRedis, toPostgres string
	c := start(t, settings{
		hosts: 2,
		redis: func(addr string) string {
			if toRedis == "" {
				toRedis = through(proxy.Redis(addr, redisLosses...))
			}
			return toRedis
		},
		postgres: func(_ int, raw string) string {
			if toPostgres == "" {
				toPostgres = through(proxy.Postgres(hostOf(t, raw), postgresLosses...))
			}
			return strings.Replace(raw, hostOf(t, raw), toPostgres, 1)
		},
	})
	for _, p := range proxies {
		p.Arm()
	}
	l := newLoad(c, 60, 400*time.Millisecond)
	l.tame = true
	l.upload(t.Context(), 1)()
	c.settle(3 * time.Minute)
	jobs, sum := c.verify(l)
	// The plugin does nothing wrong here: only a host that lost the reply to
	// three claims of one job may give it up.
	for _, j := range jobs {
		if j.State != host.StateSucceeded && (j.Error.Code != host.CodeLeaseExpired || j.Crashes < 3) {
			t.Errorf("job %s is %s: %+v", j.ID, j.State, j.Error)
		}
	}
	c.overHTTP(l, jobs, 60)
	c.shutDown()
	lost := map[string]int{}
	for _, p := range proxies {
		for name, n := range p.Lost() {
			lost[name] = n
		}
	}
	for _, loss := range append(redisLosses, postgresLosses...) {
		if lost[loss.Name] == 0 {
			t.Errorf("no reply to %s was lost: this test has proved nothing of it", loss.Name)
		}
	}
	t.Logf("accepted %d of %d stored, uploads that failed: %s; lost replies: %s; %+v", len(l.accepted), c.scanCount(jobs), figures(l.failed), figures(lost), sum)
}

// hostOf is the host:port of a URL.
func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// serve runs a proxy until the hosts of the test, started after it, have ended.
func serve(t *testing.T, p *proxy.Proxy, err error) *proxy.Proxy {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
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

func (c *cluster) scanCount(jobs []job) int {
	scans := map[string]bool{}
	for _, j := range jobs {
		scans[j.Scan] = true
	}
	return len(scans)
}
