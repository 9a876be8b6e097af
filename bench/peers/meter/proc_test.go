package meter

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "42 (a) b (c) S 7 42 42 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 5 0 1000 0 0"
	got, ok := parseStat(42, line)
	want := proc{pid: 42, parent: 7, own: 2, kids: 0.5, name: "a) b (c"}
	if !ok {
		t.Fatal("not parsed")
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(proc{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, bad := range []string{"", "42", "42 (x)", "42 (x) S 1", ")42("} {
		if p, ok := parseStat(42, bad); ok {
			t.Errorf("%q was parsed as %+v", bad, p)
		}
	}
}

func TestParseCPU(t *testing.T) {
	t.Parallel()
	busy, steal := parseCPU("cpu  100 200 300 4000 500 60 40 80 0 0\ncpu0 1 2 3\n")
	if busy != 7 || steal != 0.8 {
		t.Errorf("busy %v, steal %v, want 7 and 0.8", busy, steal)
	}
	if busy, steal = parseCPU("intr 5"); busy != 0 || steal != 0 {
		t.Errorf("of another line: busy %v, steal %v", busy, steal)
	}
}

func TestParseDisksTakesTheBusiest(t *testing.T) {
	t.Parallel()
	busy, written := parseDisks(" 7 0 loop0 0 0 0 0 0 0 0 0 0 9999999 0 0 0\n" +
		" 254 0 vda 1 0 8 1 2 0 4 1 0 1500 2 0 0\n 254 16 vdb 1 0 8 1 2 0 99 1 0 20 2 0 0\nshort\n")
	if busy != 1.5 || written != 4*512 {
		t.Errorf("busy %v, written %v, want 1.5 and 2048", busy, written)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	at := time.Unix(100, 0)
	p := func(pid, parent int, own float64, name string) proc {
		return proc{pid: pid, parent: parent, own: own, name: name}
	}
	snapshot := func(at time.Time, busy float64, all ...proc) Snapshot {
		s := Snapshot{at: at, busy: busy, procs: map[int]proc{}}
		for _, one := range all {
			s.procs[one.pid] = one
		}
		return s
	}
	before := snapshot(at, 50, p(10, 1, 1, "bench"), p(20, 10, 1, "host"), p(30, 20, 0, "noop"), p(40, 1, 5, "other"), p(50, 1, 2, "pg"))
	after := snapshot(at.Add(10*time.Second), 62, p(10, 1, 2, "bench"), p(20, 10, 4, "host"), p(30, 20, 0.5, "noop"),
		p(31, 30, 0.5, "child"), p(40, 1, 6, "other"), p(50, 1, 3, "pg"), p(51, 50, 2, "backend"),
		proc{pid: 2, parent: 0, own: 100, kernel: true, name: "kthreadd"})
	got := Between(before, after, []Group{{Name: "load", PID: 10}, {Name: "host", PID: 20, Below: "plugin"}, {Name: "postgres", PID: 50}})
	want := Usage{Wall: 10, Groups: map[string]float64{"load": 1, "host": 3, "plugin": 1, "postgres": 3}, Foreign: 1, Kernel: 3, Top: "other/40"}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDisturbed(t *testing.T) {
	t.Parallel()
	if (Usage{Wall: 10, Foreign: 0.1}).Disturbed() {
		t.Error("by 1% of a processor")
	}
	if !(Usage{Wall: 1, Foreign: 1e3}).Disturbed() || !(Usage{Wall: 1, Steal: 1e3}).Disturbed() {
		t.Error("not by more than the machine has")
	}
}
