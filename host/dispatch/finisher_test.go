package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securetaghq/securetag/host"
)

// TestOutcomesGather: jobs that end within the linger of 2ms share a commit;
// nobody waits longer than that, and a lone job for nobody.
func TestOutcomesGather(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lengths []time.Duration // of the jobs
		commits int
		first   time.Duration // when the first outcome is stored
	}{
		"a lone job":           {[]time.Duration{time.Second}, 1, time.Second},
		"at once":              {[]time.Duration{time.Second, time.Second}, 1, time.Second},
		"one after the other":  {[]time.Duration{time.Second, time.Second + time.Millisecond}, 1, time.Second + time.Millisecond},
		"the other is too far": {[]time.Duration{time.Second, 2 * time.Second}, 2, time.Second + 2*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newFakeStore()
				lengths := map[host.JobID]time.Duration{}
				for _, d := range tt.lengths {
					c := claim()
					lengths[c.Job.ID] = d
					store.add(c)
				}
				began := time.Now()
				w := start(t, store, func(ctx context.Context, task host.Task, s host.Sink) (host.Report, error) {
					time.Sleep(lengths[task.Job])
					return succeed(ctx, task, s)
				}, nil)
				outcomeOf(t, store)
				if took := time.Since(began); took != tt.first {
					t.Errorf("the first outcome was stored after %v, want %v", took, tt.first)
				}
				for range len(tt.lengths) - 1 {
					outcomeOf(t, store)
				}
				w.end()
				if store.finishes != tt.commits {
					t.Errorf("%d commits, want %d", store.finishes, tt.commits)
				}
			})
		})
	}
}
