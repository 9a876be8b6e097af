package redisstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/host"
)

// CancelsConfig says how cancels are carried. Zero values are replaced by the
// defaults given.
type CancelsConfig struct {
	// Prefix starts the channel's name, as in Config.
	Prefix string
	// Check is how long a subscription may be silent before the server is asked
	// whether it is still there. Default 10s.
	Check time.Duration
}

// Cancels is the [host.Cancels] on Redis pub/sub.
type Cancels struct {
	cfg     CancelsConfig
	channel string
	client  redis.UniversalClient
}

var _ host.Cancels = (*Cancels)(nil)

// NewCancels uses client to publish; a subscription has a connection of its own
// outside the client's pool. It does not connect, and Close of the client stays
// with the caller.
func NewCancels(client redis.UniversalClient, cfg CancelsConfig) (*Cancels, error) {
	p, err := prefix(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("cancels: %w", err)
	}
	if cfg.Check == 0 {
		cfg.Check = 10 * time.Second
	}
	if cfg.Check < 0 {
		return nil, fmt.Errorf("cancels: check %v must be positive: %w", cfg.Check, host.ErrInvalid)
	}
	return &Cancels{cfg: cfg, channel: "{" + p + "}:cancels", client: client}, nil
}

func (c *Cancels) Publish(ctx context.Context, scan host.ScanID) error {
	return translate("publish a cancel", c.client.Publish(ctx, c.channel, string(scan)).Err())
}

func (c *Cancels) Subscribe(ctx context.Context, heard func(host.ScanID)) error {
	sub := c.client.Subscribe(ctx)
	defer func() { _ = sub.Close() }()
	// Reading does not end with its context; it ends with its connection.
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = sub.Close()
	})
	defer func() {
		if !stop() {
			<-closed
		}
	}()
	err := sub.Subscribe(ctx, c.channel)
	for silent := false; err == nil; {
		var msg any
		msg, err = sub.ReceiveTimeout(ctx, c.cfg.Check)
		if timedOut(err) && !silent {
			silent = true
			err = sub.Ping(ctx) // the answer ends the silence
			continue
		}
		silent = false
		switch m := msg.(type) {
		case *redis.Subscription:
			heard("")
		case *redis.Message:
			if id, err := host.ParseID[host.ScanID](m.Payload); err == nil { // else it is not ours
				heard(id)
			}
		}
	}
	if ctx.Err() != nil {
		return nil // it broke because it was told to end
	}
	return translate("listen for cancels", err)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
