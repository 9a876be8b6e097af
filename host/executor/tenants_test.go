package executor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

func perTenant(c *executor.Config) { c.Plugins[0].Isolation = executor.PerTenant }

// processOf runs a job of a tenant and gives what only its process has.
func (b *bench) processOf(t *testing.T, tenant host.TenantID) string {
	t.Helper()
	s, task := &sink{}, b.task(t, "")
	task.Tenant = tenant
	if _, err := b.Run(t.Context(), task, s); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(s.all()[0].Message, "\n") {
		if id, ok := strings.CutPrefix(line, "SECURETAG_PROCESS="); ok {
			return id
		}
	}
	t.Fatal("the process does not say which it is")
	return ""
}

// TestPerTenant: a tenant's jobs share a process, and no tenant another's.
func TestPerTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t, "environment", perTenant)
	alice, bob := host.NewTenantID(), host.NewTenantID()
	first := b.processOf(t, alice)
	if again := b.processOf(t, alice); again != first {
		t.Error("the second job of a tenant has another process")
	}
	if other := b.processOf(t, bob); other == first {
		t.Error("two tenants have one process")
	}
	if s := b.status(); s.Standby != 2 || s.Running != 0 || s.Starts != 2 || s.State != executor.StateReady {
		t.Errorf("status %+v", s)
	}
}

func TestPerTenantIsBounded(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*executor.Plugin){
		"in time":   func(p *executor.Plugin) { p.TenantIdle = time.Millisecond },
		"in number": func(p *executor.Plugin) { p.TenantProcesses = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "environment", perTenant, plugin(limit))
			for range 3 {
				b.processOf(t, host.NewTenantID())
			}
			want := strings.Count(name, "number") // of processes
			eventually(t, "the others are stopped", func() bool { return len(b.processes()) == want })
			if s := b.status(); s.Restarts != 0 {
				t.Errorf("status %+v: a process that is stopped has not died", s)
			}
		})
	}
}

// TestPerTenantReplacesTheBroken: what breaks takes no more jobs, and the other
// tenant notices nothing.
func TestPerTenantReplacesTheBroken(t *testing.T) {
	t.Parallel()
	b := newBench(t, "environment", perTenant, plugin(func(p *executor.Plugin) { p.MaxSilence = time.Second }))
	alice, bob := host.NewTenantID(), host.NewTenantID()
	first, others := b.processOf(t, alice), b.processOf(t, bob)
	for mode, code := range map[string]host.ErrorCode{"exit-zero": host.CodePluginCrashed, "hang": host.CodePluginHung} {
		task := b.task(t, `{"mode": "`+mode+`"}`)
		task.Tenant = alice
		_, err := b.Run(t.Context(), task, &sink{})
		if f := wantFault(t, err, code, true); f.Crashed {
			t.Errorf("%s: held against the scan, and whose it was nobody can tell", mode)
		}
		next := b.processOf(t, alice)
		if next == first {
			t.Errorf("%s: the process that broke is still there", mode)
		}
		first = next
	}
	if b.processOf(t, bob) != others {
		t.Error("the other tenant's process was replaced")
	}
}

// TestPerTenantWaits: for a place, as long as its context lets it; and what
// cannot be started fails everybody who waits.
func TestPerTenantWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, "hang", perTenant)
	alice := host.NewTenantID()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for range cap(ended) { // as many as it takes at once
		task := b.task(t, "")
		task.Tenant = alice
		go func() {
			_, err := b.Run(ctx, task, &sink{})
			ended <- err
		}()
		waitScanning(t, task)
	}
	if s := b.status(); s.Starts != 1 {
		t.Errorf("status %+v, want one process", s)
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	task := b.task(t, "")
	task.Tenant = alice
	if _, err := b.Run(short, task, &sink{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run without a free place: %v", err)
	}
	cancel()
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}

	bad := newBench(t, "panic-at-start", perTenant)
	failed := make(chan error, 3)
	for range cap(failed) {
		task := bad.task(t, "")
		task.Tenant = alice
		go func() {
			_, err := bad.Run(t.Context(), task, &sink{})
			failed <- err
		}()
	}
	for range cap(failed) {
		wantFault(t, <-failed, host.CodePluginUnavailable, true, "panic: boom")
	}
}

func TestPerTenantReload(t *testing.T) {
	t.Parallel()
	b := newBench(t, "environment", perTenant)
	alice := host.NewTenantID()
	first := b.processOf(t, alice)
	next := b.plugin
	next.Env = map[string]string{"GENERATION": "2"}
	if _, err := b.Reload([]executor.Plugin{next}); err != nil {
		t.Fatal(err)
	}
	if b.processOf(t, alice) == first {
		t.Error("the process of before is still given out")
	}
	eventually(t, "the process of before is gone", func() bool { return len(b.processes()) == 1 })
}
