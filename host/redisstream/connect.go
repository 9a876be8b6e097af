package redisstream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// Server says which Redis to talk to. Exactly one of URL, Addresses and the
// in-process server of StartEmbedded is used.
type Server struct {
	// URL of a standalone server: redis:// or rediss://user:password@host:port/db.
	URL string
	// Addresses of a Cluster's nodes, or of Sentinels when SentinelMaster is set.
	Addresses      []string
	SentinelMaster string
	Username       string
	Password       string
	TLS            bool // for Addresses; a URL says it by its scheme
}

// Connect makes the two clients that New takes. It does not wait for the
// server: one that is down is reported by every call until it is back.
func Connect(s Server) (client, reader redis.UniversalClient, err error) {
	opts, err := s.options()
	if err != nil {
		return nil, nil, err
	}
	return newClient(s, opts), newClient(s, opts), nil
}

// ConnectReader makes the reader that NewEvents takes: reads is how many may
// wait at once. As with Connect, it does not wait for the server.
func ConnectReader(s Server, reads int) (redis.UniversalClient, error) {
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	opts.PoolSize = reads
	return newClient(s, opts), nil
}

// newClient picks Cluster for several plain addresses, Sentinel for a master
// name, standalone otherwise. The dispatcher has its own backoff, and a
// command sent again by the driver may ring twice, so the driver does not retry.
func newClient(s Server, opts redis.UniversalOptions) redis.UniversalClient {
	opts.MaxRetries = -1
	opts.DialTimeout = 2 * time.Second
	opts.ReadTimeout = 3 * time.Second
	opts.WriteTimeout = 3 * time.Second
	opts.ContextTimeoutEnabled = true
	if opts.PoolSize == 0 {
		opts.PoolSize = 8
	}
	if s.SentinelMaster == "" && len(s.Addresses) > 0 {
		return redis.NewClusterClient(opts.Cluster())
	}
	return redis.NewUniversalClient(&opts)
}

func (s Server) options() (redis.UniversalOptions, error) {
	switch {
	case s.URL != "" && len(s.Addresses) > 0:
		return redis.UniversalOptions{}, fmt.Errorf("redis: give a URL or addresses, not both: %w", host.ErrInvalid)
	case s.URL != "":
		o, err := redis.ParseURL(s.URL)
		if err != nil {
			// The driver's message may quote the URL and with it the password.
			return redis.UniversalOptions{}, fmt.Errorf("redis: the URL is not of the form redis://[user:password@]host:port[/db]: %w", host.ErrInvalid)
		}
		return redis.UniversalOptions{Addrs: []string{o.Addr}, DB: o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig}, nil
	case len(s.Addresses) > 0:
		o := redis.UniversalOptions{Addrs: s.Addresses, MasterName: s.SentinelMaster, Username: s.Username, Password: s.Password}
		if s.TLS {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		return o, nil
	default:
		return redis.UniversalOptions{}, fmt.Errorf("redis: neither a URL nor addresses: %w", host.ErrInvalid)
	}
}

// Embedded is a Redis inside this process, on a loopback port of its own. It
// keeps nothing when it ends; the dispatcher rings again from the store.
type Embedded struct {
	m        *miniredis.Miniredis
	password string
	stop     chan struct{}
	aging    sync.WaitGroup
	once     sync.Once
}

// embeddedTick is how often the embedded server removes what is over its time
// to live. By itself it would look through all its keys at every command, which
// with an event stream for each scan would be most of what it does.
const embeddedTick = 5 * time.Second

// StartEmbedded starts one. It speaks TCP and not an in-memory pipe, because
// pipelines dead-lock on the latter, and a random password keeps other users
// of the machine out.
func StartEmbedded() (*Embedded, error) { return startEmbedded(embeddedTick) }

func startEmbedded(tick time.Duration) (*Embedded, error) {
	e := &Embedded{m: miniredis.NewMiniRedis(), password: rand.Text(), stop: make(chan struct{})}
	e.m.RequireAuth(e.password)
	if err := e.m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start in-process redis: %w", err)
	}
	e.aging.Go(func() { e.age(tick) })
	return e, nil
}

// age lets time pass for what has a time to live.
func (e *Embedded) age(tick time.Duration) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-e.stop:
			return
		case <-t.C:
			now := time.Now()
			e.m.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Server is how to reach it.
func (e *Embedded) Server() Server {
	return Server{URL: "redis://:" + e.password + "@" + e.m.Addr()}
}

// Close ends it. Idempotent.
func (e *Embedded) Close() error {
	e.once.Do(func() { close(e.stop) })
	e.aging.Wait()
	e.m.Close()
	return nil
}

// SilenceDriver makes go-redis log nothing, for the whole process: an outage
// would print a line for every failed dial, and the dispatcher reports each
// change of state once. Call it once, from main.
func SilenceDriver() { redis.SetLogger(silencer{}) }

type silencer struct{}

func (silencer) Printf(context.Context, string, ...any) {}
