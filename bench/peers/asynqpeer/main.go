// Command asynqpeer is net/http, pgx and asynq: the same work as ours on the
// queue library that Go programs use most with Redis.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/securetaghq/securetag/bench/peers/peer"
)

// limitScript counts a client's requests as rate-limit-redis does. It takes the
// client's key and the window in ms, and returns the count and the time left.
const limitScript = `
local n = redis.call("INCR", KEYS[1])
local t = redis.call("PTTL", KEYS[1])
if t <= 0 then redis.call("PEXPIRE", KEYS[1], ARGV[1]); t = tonumber(ARGV[1]) end
return {n, t}`

func main() {
	peer.Main(map[string]func(context.Context) error{"server": serve, "worker": work})
}

func redisOpt() asynq.RedisClientOpt { return asynq.RedisClientOpt{Addr: os.Getenv("REDIS_ADDR")} }

func serve(ctx context.Context) error {
	pool, err := peer.Pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	limits := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDR")})
	defer func() { _ = limits.Close() }()
	queue := asynq.NewClient(redisOpt())
	defer func() { _ = queue.Close() }()
	limit := redis.NewScript(limitScript)
	return peer.Serve(ctx, func(w http.ResponseWriter, r *http.Request) {
		client, _, _ := net.SplitHostPort(r.RemoteAddr) // always host:port
		count, err := limit.Run(r.Context(), limits, []string{"rl:" + client}, 60000).Int64Slice()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if count[0] > 1_000_000_000 {
			http.Error(w, "rate limited", http.StatusTooManyRequests)
			return
		}
		u, err := peer.Receive(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		payload, err := json.Marshal(u.Task)
		if err == nil {
			_, err = pool.Exec(r.Context(), peer.InsertTask, u.ID, "queued", u.Filename, u.Path, u.Size)
		}
		if err == nil {
			_, err = queue.EnqueueContext(r.Context(), asynq.NewTask("audit", payload))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		peer.Accept(w, u.ID)
	})
}

func work(ctx context.Context) error {
	pool, err := peer.Pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	interval, err := peer.Duration("TASK_CHECK_INTERVAL") // asynq's default is 1 s
	if err != nil {
		return err
	}
	if err := pool.Ping(ctx); err != nil {
		return err
	}
	s := asynq.NewServer(redisOpt(), asynq.Config{Concurrency: peer.Slots, TaskCheckInterval: interval, LogLevel: asynq.ErrorLevel})
	err = s.Start(asynq.HandlerFunc(func(ctx context.Context, job *asynq.Task) error {
		start := time.Now()
		var t peer.Task
		if err := json.Unmarshal(job.Payload(), &t); err != nil {
			return err
		}
		return peer.Work(ctx, pool, t.ID, start)
	}))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	s.Shutdown()
	return nil
}
