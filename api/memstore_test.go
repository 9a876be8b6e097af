package api_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/securetaghq/securetag/host"
)

// memStore keeps scans and keys in memory, by the letter of host.ScanStore and
// host.KeyStore.
type memStore struct {
	mu       sync.Mutex
	keys     map[[32]byte]host.Key
	scans    map[host.ScanID]host.Scan
	findings map[host.ScanID][]host.Finding
}

func newMemStore() *memStore {
	return &memStore{keys: map[[32]byte]host.Key{}, scans: map[host.ScanID]host.Scan{}, findings: map[host.ScanID][]host.Finding{}}
}

func (m *memStore) Ping(context.Context) error { return nil }

func (m *memStore) CreateKey(_ context.Context, k host.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[k.Hash] = k
	return nil
}

func (m *memStore) RevokeKey(_ context.Context, _ host.TenantID, id host.KeyID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.keys, func(_ [32]byte, k host.Key) bool { return k.ID == id })
	return nil
}

func (m *memStore) UseKey(_ context.Context, hash [32]byte) (host.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[hash]
	if !ok {
		return host.Key{}, host.ErrNotFound
	}
	return k, nil
}

func (m *memStore) Accept(_ context.Context, s host.Scan) (host.Scan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.CreatedAt = time.Now().UTC().Truncate(time.Microsecond)
	m.scans[s.ID] = s
	return s, nil
}

func (m *memStore) Scan(_ context.Context, t host.TenantID, id host.ScanID) (host.Scan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.scans[id]
	if !ok || s.TenantID != t {
		return host.Scan{}, host.ErrNotFound
	}
	return s, nil
}

func (m *memStore) Scans(_ context.Context, t host.TenantID, q host.ScanQuery) ([]host.Scan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []host.Scan
	for _, s := range m.scans {
		if s.TenantID == t && (q.Type == "" || q.Type == s.Type) && (q.Project == "" || q.Project == s.Project) &&
			(q.State == "" || q.State == s.State) && (q.After == "" || s.ID < q.After) {
			s.Jobs = nil
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b host.Scan) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(len(out), q.Limit)], nil
}

func (m *memStore) Cancel(_ context.Context, t host.TenantID, id host.ScanID) (host.Scan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.scans[id]
	switch {
	case !ok || s.TenantID != t:
		return host.Scan{}, host.ErrNotFound
	case s.State.Final() && s.State != host.StateCanceled:
		return host.Scan{}, host.ErrConflict
	}
	s.State, s.CancelRequestedAt, s.FinishedAt = host.StateCanceled, time.Now(), time.Now()
	m.scans[id] = s
	return s, nil
}

func (m *memStore) Findings(_ context.Context, t host.TenantID, id host.ScanID, q host.FindingQuery) ([]host.Finding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.scans[id]; !ok || s.TenantID != t {
		return nil, host.ErrNotFound
	}
	var out []host.Finding
	for _, f := range m.findings[id] {
		behind := q.After == nil || f.Severity.Rank() > q.After.Rank || f.Severity.Rank() == q.After.Rank && f.ID > q.After.ID
		if behind && (q.Severity == "" || q.Severity == f.Severity) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b host.Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.ID, b.ID))
	})
	return out[:min(len(out), q.Limit)], nil
}

// finish ends a scan as a dispatcher would.
func (m *memStore) finish(id host.ScanID, findings []host.Finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.scans[id]
	s.State, s.StartedAt, s.FinishedAt = host.StateSucceeded, time.Now(), time.Now()
	s.Jobs = slices.Clone(s.Jobs)
	for i := range s.Jobs {
		j := &s.Jobs[i]
		j.State, j.Attempt, j.StartedAt, j.FinishedAt = host.StateSucceeded, 1, time.Now(), time.Now()
		j.Progress = host.Progress{Phase: "matching", Done: 3, Total: 3, Unit: "files"}
	}
	for i := range findings {
		findings[i].ScanID, findings[i].JobID, findings[i].CreatedAt = id, s.Jobs[0].ID, time.Now()
		s.Counts.Add(findings[i].Severity, 1)
	}
	s.Jobs[0].Counts = s.Counts
	m.scans[id] = s
	m.findings[id] = findings
}
