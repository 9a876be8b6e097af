package chaos_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/internal/testhost"
)

// A mutant is a host with a safeguard taken out. An edit must fit its file in
// exactly one place, so that a mutant cannot quietly become the real thing.
type mutant struct {
	edits []edit
	// caught says what was found wrong with it; "" when nothing was.
	caught func(t *testing.T, binary string) string
}

type edit struct{ file, from, to string }

var mutants = map[string]mutant{
	"no republish": {
		edits: []edit{
			{"host/dispatch/relay.go", "Horizon: r.horizon,", "Horizon: 1000 * time.Hour,"},
			{"host/dispatch/relay.go", "\tr.lost.Store(true)\n\tr.wake()\n}", "\tr.wake()\n}"},
		},
		caught: func(t *testing.T, binary string) string {
			return forgotten(start(t, settings{binary: binary, hosts: 1, slots: 1, tenants: 1}), 45*time.Second)
		},
	},
	"no fence, its successor has finished": {
		edits: noFence,
		caught: func(t *testing.T, binary string) string {
			return strings.Join(zombie(t, binary, late, true), "\n")
		},
	},
	"no fence, its successor is at it": {
		edits: noFence,
		caught: func(t *testing.T, binary string) string {
			return strings.Join(zombie(t, binary, late, false), "\n")
		},
	},
	// What a host asks before it reads an archive is all that is left.
	"quotas are looked at outside of the transaction": {
		edits: []edit{{"host/postgres/quota.go", `
       or w.max_storage > 0 and w.storage > 0 and h.storage + w.storage > w.max_storage
       or w.max_queued > 0 and h.queued + w.scans > w.max_queued
       or w.max_scans > 0 and h.scans + w.scans > w.max_scans`, ""}},
		caught: func(t *testing.T, binary string) string {
			return strings.Join(squeeze(start(t, tightly(settings{binary: binary})), 1), "\n")
		},
	},
}

// noFence lets a job be ended and a lease be renewed by whoever had one once.
var noFence = []edit{
	{"host/postgres/finish.go", "join jobs j on j.id = o.job and j.lease_epoch = o.epoch and j.lease_id = o.lease\n", "join jobs j on j.id = o.job\n"},
	{"host/postgres/jobs.go", "join jobs j on j.id = l.job and j.lease_epoch = l.epoch and j.lease_id = l.lease\n        and j.lease_expires_at > now()\n", "join jobs j on j.id = l.job and j.lease_id is not null\n"},
}

// TestMutants: the edits fit; with -mutants, the mutants are built and caught.
func TestMutants(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			overlay := m.overlay(t)
			if !*flagMutants {
				return
			}
			binary := filepath.Join(t.TempDir(), "securetag")
			if err := testhost.Build(root, binary, "-overlay", overlay, "./cmd/securetag"); err != nil {
				t.Fatal(err)
			}
			what := m.caught(t, binary)
			if what == "" {
				t.Error("the mutant was not caught")
			}
			t.Logf("caught:\n%s", what)
		})
	}
}

// overlay writes the edited files and what tells the compiler of them.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	texts := map[string]string{}
	for _, e := range m.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := texts[path]; !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(b)
		}
		if n := strings.Count(texts[path], e.from); n != 1 {
			t.Fatalf("%s has %d places for the edit, want 1: say anew what the mutant is\n%s", e.file, n, e.from)
		}
		texts[path] = strings.Replace(texts[path], e.from, e.to, 1)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for path := range maps.Keys(texts) {
		replace[path] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(replace[path], []byte(texts[path]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
