// Command riverpeer is net/http, pgx and River: the same work as ours on a
// queue in PostgreSQL. The job is stored with its task, in one transaction.
package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"golang.org/x/time/rate"

	"github.com/securetaghq/securetag/bench/peers/peer"
)

type auditArgs struct{ peer.Task }

func (auditArgs) Kind() string { return "audit" }

func main() {
	peer.Main(map[string]func(context.Context) error{"migrate": migrate, "server": serve, "worker": work})
}

func config() (*river.Config, error) {
	cooldown, err := peer.Duration("FETCH_COOLDOWN") // River's default is 100 ms
	return &river.Config{FetchCooldown: cooldown}, err
}

func migrate(ctx context.Context) error {
	pool, err := peer.Pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	m, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func serve(ctx context.Context) error {
	pool, err := peer.Pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg, err := config()
	if err != nil {
		return err
	}
	queue, err := river.NewClient(riverpgxv5.New(pool), cfg)
	if err != nil {
		return err
	}
	limit := rate.NewLimiter(1e9, 1e9) // in process: this stack has no Redis
	return peer.Serve(ctx, func(w http.ResponseWriter, r *http.Request) {
		if !limit.Allow() {
			http.Error(w, "rate limited", http.StatusTooManyRequests)
			return
		}
		u, err := peer.Receive(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := insert(r.Context(), pool, queue, u); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		peer.Accept(w, u.ID)
	})
}

func insert(ctx context.Context, pool *pgxpool.Pool, queue *river.Client[pgx.Tx], u peer.Upload) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, peer.InsertTask, u.ID, "queued", u.Filename, u.Path, u.Size); err != nil {
			return err
		}
		_, err := queue.InsertTx(ctx, tx, auditArgs{u.Task}, nil)
		return err
	})
}

func work(ctx context.Context) error {
	pool, err := peer.Pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg, err := config()
	if err != nil {
		return err
	}
	cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: peer.Slots}}
	cfg.Workers = river.NewWorkers()
	river.AddWorker(cfg.Workers, river.WorkFunc(func(ctx context.Context, job *river.Job[auditArgs]) error {
		return peer.Work(ctx, pool, job.Args.ID, time.Now())
	}))
	queue, err := river.NewClient(riverpgxv5.New(pool), cfg)
	if err != nil {
		return err
	}
	if err := queue.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return queue.Stop(grace)
}
