package chaos_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// storm does harm. It belongs to one goroutine, the test's.
type storm struct {
	c      *cluster
	rng    *rand.Rand
	redis  *redis.Client
	count  map[string]int
	undo   []undo
	down   bool // Redis was killed
	frozen bool // Redis was stopped
}

// undo is what makes a harm good again, later.
type undo struct {
	at time.Time
	do func()
}

func newStorm(c *cluster, seed uint64) *storm {
	return &storm{
		c: c, rng: rand.New(rand.NewPCG(seed, 0)), count: map[string]int{},
		redis: redis.NewClient(&redis.Options{Addr: c.redis.Addr(), MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second}),
	}
}

// harms, each with how often it happens among the others. Each says whether it
// could be done now.
func (s *storm) harms() []harm {
	return []harm{
		{"FLUSHALL", 4, s.flush},
		{"Redis killed", 3, s.killRedis},
		{"Redis stopped for a while", 2, s.stopRedis},
		{"consumer deleted", 3, s.deleteConsumer},
		{"database connections ended", 3, s.endConnections},
		{"host killed", 3, s.killHost},
		{"host stopped for longer than a lease", 3, s.stopHost},
		{"host terminated", 1, s.terminateHost},
		{"plugin killed", 6, s.killPlugin},
	}
}

type harm struct {
	name  string
	share int
	do    func(context.Context) bool
}

// run does harm, one about every pace, until done says so; then it makes
// everything good.
func (s *storm) run(ctx context.Context, pace time.Duration, done func() bool) {
	defer s.redis.Close()
	harms := s.harms()
	all := 0
	for _, h := range harms {
		all += h.share
	}
	for ctx.Err() == nil && !done() {
		sleep(ctx, pace/2+time.Duration(s.rng.Int64N(int64(pace))))
		s.mend(time.Now())
		n := s.rng.IntN(all)
		for _, h := range harms {
			if n -= h.share; n < 0 {
				short, cancel := context.WithTimeout(ctx, 10*time.Second)
				if h.do(short) {
					s.count[h.name]++
				}
				cancel()
				break
			}
		}
	}
	s.mend(time.Now().Add(time.Hour))
}

// mend undoes what is due.
func (s *storm) mend(now time.Time) {
	due := s.undo
	s.undo = nil
	for _, u := range due {
		if u.at.After(now) {
			s.undo = append(s.undo, u)
			continue
		}
		u.do()
	}
}

func (s *storm) later(least, most time.Duration, do func()) {
	s.undo = append(s.undo, undo{time.Now().Add(least + time.Duration(s.rng.Int64N(int64(most-least)))), do})
}

func (s *storm) flush(ctx context.Context) bool {
	return !s.down && s.redis.FlushAll(ctx).Err() == nil
}

func (s *storm) killRedis(context.Context) bool {
	if s.down || s.frozen {
		return false
	}
	s.c.redis.Kill()
	s.down = true
	s.later(100*time.Millisecond, 1500*time.Millisecond, func() { s.c.redis.Start(); s.down = false })
	return true
}

func (s *storm) stopRedis(context.Context) bool {
	if s.down || s.frozen {
		return false
	}
	s.c.redis.Pause()
	s.frozen = true
	s.later(300*time.Millisecond, 2*time.Second, func() { s.c.redis.Resume(); s.frozen = false })
	return true
}

// deleteConsumer takes a host's consumer away, with all it had heard and not
// yet silenced.
func (s *storm) deleteConsumer(ctx context.Context) bool {
	streams, err := s.redis.Keys(ctx, "*doorbell*").Result()
	if err != nil || len(streams) == 0 {
		return false
	}
	slices.Sort(streams)
	stream := streams[s.rng.IntN(len(streams))]
	consumers, err := s.redis.XInfoConsumers(ctx, stream, "hosts").Result()
	if err != nil || len(consumers) == 0 {
		return false
	}
	return s.redis.XGroupDelConsumer(ctx, stream, "hosts", consumers[s.rng.IntN(len(consumers))].Name).Err() == nil
}

func (s *storm) endConnections(ctx context.Context) bool {
	_, err := s.c.db.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'host-%'`)
	return err == nil
}

// pick gives a host that is well, unless it is the last one.
func (s *storm) pick() *node {
	var well []*node
	for _, h := range s.c.hosts {
		if !h.down && !h.paused {
			well = append(well, h)
		}
	}
	if len(well) < 2 {
		return nil
	}
	return well[s.rng.IntN(len(well))]
}

func (s *storm) killHost(context.Context) bool {
	h := s.pick()
	if h == nil {
		return false
	}
	s.c.killHost(h)
	s.later(0, 2*time.Second, func() { s.c.startHost(h) })
	return true
}

func (s *storm) terminateHost(context.Context) bool {
	h := s.pick()
	if h == nil {
		return false
	}
	s.c.endHost(h)
	s.later(0, time.Second, func() { s.c.startHost(h) })
	return true
}

func (s *storm) stopHost(context.Context) bool {
	h := s.pick()
	if h == nil {
		return false
	}
	s.c.pause(h)
	s.later(lease+500*time.Millisecond, lease+3*time.Second, func() { s.c.resume(h) })
	return true
}

func (s *storm) killPlugin(context.Context) bool {
	pids := processes(bin.flaky, s.c.dir)
	if len(pids) == 0 {
		return false
	}
	return syscall.Kill(pids[s.rng.IntN(len(pids))], syscall.SIGKILL) == nil
}

// processes finds those of a binary with a word in their environment or on
// their command line.
func processes(binary, word string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, dir := range dirs {
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err != nil || exe != binary {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && strings.Contains(string(cmdline)+string(environ), word) {
			out = append(out, pid)
		}
	}
	return out
}
