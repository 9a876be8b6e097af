package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testScopes(s *suite) {
	t := s.tenant()
	narrow, old := newKey(t, 1), newKey(t, 2)
	narrow.Scopes, old.Scopes = host.Scopes{host.ScopeAdmin, host.ScopeScanRead}, nil
	s.check(s.CreateKey(s.ctx(), narrow))
	s.check(s.CreateKey(s.ctx(), old))
	for want, k := range map[string]host.Key{"admin scan:read": narrow, "finding:write scan:read scan:write": old} {
		got, err := s.UseKey(s.ctx(), k.Hash)
		if err != nil || got.Scopes.String() != want || got.Suspended {
			s.Errorf("scopes %s, %v, want %s", got.Scopes, err, want)
		}
	}
	if keys, err := s.Keys(s.ctx(), t); err != nil || len(keys) != 2 || !keys[0].Scopes.Has(host.ScopeAdmin) || keys[1].Scopes.Has(host.ScopeAdmin) {
		s.Errorf("listed: %+v, %v", keys, err)
	}
}

func testRotateKey(s *suite) {
	t := s.tenant()
	old, next := newKey(t, 1), newKey(t, 2)
	old.Scopes, next.Name = host.Scopes{host.ScopeScanRead}, ""
	s.check(s.CreateKey(s.ctx(), old))
	got, err := s.RotateKey(s.ctx(), t, old.ID, time.Hour, next)
	s.check(err)
	if got.ID != next.ID || got.Name != old.Name || got.Scopes.String() != "scan:read" || got.TenantID != t || !got.ExpiresAt.IsZero() {
		s.Errorf("the new key is %+v", got)
	}
	// Both are good until the overlap is over.
	for _, k := range []host.Key{old, next} {
		if _, err := s.UseKey(s.ctx(), k.Hash); err != nil {
			s.Errorf("key %d within the overlap: %v", k.Hash[0], err)
		}
	}
	// A second rotation does not make the old one live longer.
	_, err = s.RotateKey(s.ctx(), t, old.ID, 24*time.Hour, newKey(t, 3))
	s.check(err)
	s.advance(61 * time.Minute)
	if _, err := s.UseKey(s.ctx(), old.Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("the old key behind the overlap: %v", err)
	}
	if _, err := s.UseKey(s.ctx(), next.Hash); err != nil {
		s.Errorf("the new key: %v", err)
	}
	if _, err := s.RotateKey(s.ctx(), t, old.ID, 0, newKey(t, 4)); !errors.Is(err, host.ErrConflict) {
		s.Errorf("an expired one: %v", err)
	}
	for _, who := range []host.TenantID{s.tenant(), "x"} {
		if _, err := s.RotateKey(s.ctx(), who, next.ID, 0, newKey(t, 5)); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("another tenant's: %v", err)
		}
	}
	// What cannot be stored leaves the old one as it was.
	if _, err := s.RotateKey(s.ctx(), t, next.ID, 0, newKey(t, 1)); !errors.Is(err, host.ErrConflict) {
		s.Errorf("a hash that is there: %v", err)
	}
	if _, err := s.UseKey(s.ctx(), next.Hash); err != nil {
		s.Errorf("after a rotation that failed: %v", err)
	}
}

// testGoodKeys: of many hashes those that one of the other methods would take,
// and asking is no use.
func testGoodKeys(s *suite) {
	t, suspended := s.tenant(), s.tenant()
	good, revoked, expiring, theirs, operator := newKey(t, 1), newKey(t, 2), newKey(t, 3), newKey(suspended, 4), newOperatorKey(5)
	expiring.ExpiresAt = s.now().Add(time.Hour)
	for _, k := range []host.Key{good, revoked, expiring, theirs} {
		s.check(s.CreateKey(s.ctx(), k))
	}
	s.check(s.CreateOperatorKey(s.ctx(), operator))
	s.check(s.RevokeKey(s.ctx(), t, revoked.ID))
	s.check(s.Suspend(s.ctx(), suspended, "")) // its keys are known, and told why they are refused
	asked := [][32]byte{good.Hash, good.Hash, revoked.Hash, expiring.Hash, theirs.Hash, operator.Hash}
	for i := range 2000 {
		asked = append(asked, [32]byte{200, byte(i), byte(i >> 8)})
	}
	want := func(what string, hashes ...[32]byte) {
		s.Helper()
		found, err := s.GoodKeys(s.ctx(), asked)
		s.check(err)
		got := map[byte]bool{}
		for _, hash := range found {
			if !slices.Contains(hashes, hash) {
				s.Errorf("%s: %x is good", what, hash)
			}
			got[hash[0]] = true
		}
		if len(got) != len(hashes) {
			s.Errorf("%s: %v are good, want %d", what, got, len(hashes))
		}
	}
	want("now", good.Hash, expiring.Hash, theirs.Hash, operator.Hash)
	s.advance(61 * time.Minute)
	want("an hour later", good.Hash, theirs.Hash, operator.Hash)
	s.check(s.RevokeOperatorKey(s.ctx(), operator.ID))
	want("without the operator", good.Hash, theirs.Hash)
	if keys, err := s.Keys(s.ctx(), t); err != nil || !keys[0].LastUsedAt.IsZero() {
		s.Errorf("a key that was asked about was used: %+v, %v", keys, err)
	}
	if found, err := s.GoodKeys(s.ctx(), nil); err != nil || len(found) != 0 {
		s.Errorf("of none: %v, %v", found, err)
	}
}

func testSuspend(s *suite) {
	t, other := s.tenant(), s.tenant()
	k := newKey(t, 1)
	s.check(s.CreateKey(s.ctx(), k))
	running, out, waiting := s.accept(newScan(t, "p")), s.accept(newScan(t, "p")), s.accept(newScan(t, "p"))
	l := s.claimAll(running)[0].Lease
	s.handOut(out)
	s.check(s.Suspend(s.ctx(), t, "unpaid"))
	s.check(s.Suspend(s.ctx(), t, "unpaid\x00 for long"))
	got, err := s.UseKey(s.ctx(), k.Hash)
	if err != nil || !got.Suspended {
		s.Errorf("its key: %+v, %v", got, err)
	}
	all, err := s.Tenants(s.ctx())
	s.check(err)
	for _, one := range all {
		if one.ID == t && (one.Suspended.At.IsZero() || one.Suspended.Reason != "unpaid for long") || one.ID == other && !one.Suspended.At.IsZero() {
			s.Errorf("tenant %+v", one)
		}
	}
	theirs := s.accept(newScan(other, "p"))
	q := host.DispatchQuery{Plugins: everyPlugin(), Window: 1, Horizon: time.Hour}
	d, err := s.Dispatch(s.ctx(), q)
	if err != nil || len(d.Bells) != 1 || d.Bells[0].Job != theirs.Jobs[0].ID {
		s.Errorf("dispatched %+v, %v, want the other tenant's only", d, err)
	}
	// Neither a doorbell from before nor a loss of all of them starts one.
	if claims, err := s.Store.Claim(s.ctx(), "host-a", []host.JobID{out.Jobs[0].ID, waiting.Jobs[0].ID}, ttl); err != nil || len(claims) != 0 {
		s.Errorf("claimed %+v, %v", claims, err)
	}
	q.Again, q.Window = true, 100
	if d, err := s.Dispatch(s.ctx(), q); err != nil || len(d.Bells) != 1 {
		s.Errorf("dispatched again %+v, %v", d, err)
	}
	s.finish(end(l, host.StateSucceeded)) // what runs goes on
	s.check(s.Unsuspend(s.ctx(), t))
	s.check(s.Unsuspend(s.ctx(), t))
	q.Again = false
	if d, err := s.Dispatch(s.ctx(), q); err != nil || len(d.Bells) != 2 {
		s.Errorf("afterwards %+v, %v, want both", d, err)
	}
	for _, id := range []host.TenantID{host.NewTenantID(), "x"} {
		for what, err := range map[string]error{"suspend": s.Suspend(s.ctx(), id, ""), "resume": s.Unsuspend(s.ctx(), id), "delete": s.DeleteTenant(s.ctx(), id)} {
			if !errors.Is(err, host.ErrNotFound) {
				s.Errorf("%s %q: %v", what, id, err)
			}
		}
	}
}

// full gives a tenant something in every table that a suite can reach.
func (s *suite) full(name string, b byte) (t host.TenantID, running host.Lease) {
	s.Helper()
	t = host.NewTenantID()
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: t, Name: name}))
	s.check(s.CreateKey(s.ctx(), newKey(t, b)))
	s.hook(newWebhook(t))
	s.prove(s.target(t, "example.com"), host.ProofDNS)
	done, failed, goesOn := newScan(t, "p"), newScan(t, "p"), newScan(t, "p")
	done.Input = host.Input{Archive: &host.Archive{Blob: host.BlobKey("archives/" + name), Size: 10, Format: "zip", SHA256: "x"}}
	done, failed, goesOn = s.accept(done), s.accept(failed), s.accept(goesOn)
	s.accept(newScan(t, "p")) // queued
	l := s.claimAll(done)[0].Lease
	s.check(s.AddFindings(s.ctx(), l, newFindings(3, host.SeverityHigh)))
	o := end(l, host.StateSucceeded)
	o.Artifacts = []host.Artifact{newArtifact("a.txt")}
	s.finish(o, end(s.claimAll(failed)[0].Lease, host.StateFailed))
	s.shop(t, found("a", "x", 1))
	_, err := s.TriageMany(s.ctx(), t, "shop", []host.ProjectFindingID{s.projectFindings(t, host.ProjectFindingQuery{})[0].ID}, host.Said{Triage: host.TriageConfirmed})
	s.check(err)
	return t, s.claimAll(goesOn)[0].Lease
}

func testDeleteTenant(s *suite) {
	t, l := s.full("goes", 1)
	other, _ := s.full("stays", 2)
	_, untracked := s.begin(t)
	s.finish(end(untracked, host.StateSucceeded))
	before := s.h.Rows(s.T, other)
	mine := s.h.Rows(s.T, t)
	for _, table := range []string{"api_keys", "scans", "jobs", "findings", "artifacts", "attempts", "webhooks", "webhook_deliveries",
		"projects", "project_findings", "finding_history", "observations", "project_runs", "scan_outcomes", "untracked_scans"} {
		if mine[table] == 0 {
			s.Errorf("the test puts nothing into %s", table)
		}
	}
	s.check(s.DeleteTenant(s.ctx(), t))
	s.check(s.DeleteTenant(s.ctx(), t))
	if _, err := s.UseKey(s.ctx(), newKey(t, 1).Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("its key: %v", err)
	}
	if err := s.Unsuspend(s.ctx(), t); !errors.Is(err, host.ErrConflict) {
		s.Errorf("resumed: %v", err)
	}
	blobs := s.dropTenants(100)
	if !blobs["archives/goes"] || len(blobs) != 2 {
		s.Errorf("blobs %v", blobs)
	}
	// What runs is asked to stop, and holds the rest until it does.
	if pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l}}, ttl); err != nil || len(pulses) != 1 || !pulses[0].CancelRequested {
		s.Fatalf("the running job hears %+v, %v", pulses, err)
	}
	if _, err := s.TenantByName(s.ctx(), "goes"); err != nil {
		s.Errorf("while a job runs: %v", err)
	}
	s.finish(end(l, host.StateCanceled))
	s.dropTenants(100)
	if left := s.h.Rows(s.T, t); len(left) != 0 {
		s.Errorf("left behind: %v", left)
	}
	if _, err := s.TenantByName(s.ctx(), "goes"); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("its name: %v", err)
	}
	if diff := cmp.Diff(before, s.h.Rows(s.T, other)); diff != "" {
		s.Errorf("the other tenant (-before +after):\n%s", diff)
	}
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: "goes"}))
}

// dropTenants removes what there is to remove now, and gives the blobs.
func (s *suite) dropTenants(limit int) map[host.BlobKey]bool {
	s.Helper()
	blobs := map[host.BlobKey]bool{}
	for range 100 {
		out, err := s.DropTenant(s.ctx(), limit)
		s.check(err)
		if out.Scans > limit {
			s.Errorf("%d scans at once, want at most %d", out.Scans, limit)
		}
		for _, a := range out.Archives {
			blobs[a.Blob] = true
		}
		for _, a := range out.Artifacts {
			blobs[a.Blob] = true
		}
		if !out.More {
			return blobs
		}
	}
	s.Fatal("no end")
	return nil
}

// testDeleteTenantBatches: several at once, a scan at a time, and one whose job
// runs does not keep the others.
func testDeleteTenantBatches(s *suite) {
	busy, l := s.full("busy", 1)
	idle := s.tenant()
	for range 3 {
		s.accept(newScan(idle, "p"))
	}
	s.check(s.DeleteTenant(s.ctx(), busy))
	s.check(s.DeleteTenant(s.ctx(), idle))
	s.dropTenants(1)
	if left := s.h.Rows(s.T, idle); len(left) != 0 {
		s.Errorf("left of the idle one: %v", left)
	}
	if left := s.h.Rows(s.T, busy)["scans"]; left != 1 {
		s.Errorf("left of the busy one: %d scans, want the running one", left)
	}
	s.advance(2 * ttl) // its host died
	if n, err := count(s.Expire(s.ctx(), 10)); err != nil || n != 1 {
		s.Errorf("expired %d, %v", n, err)
	}
	s.dropTenants(1)
	if left := s.h.Rows(s.T, busy); len(left) != 0 {
		s.Errorf("left of the busy one with lease %v: %v", l.Job, left)
	}
}

func testAudit(s *suite) {
	line := func(actor, action string) host.AuditLine {
		return host.AuditLine{ID: host.NewAuditID(), Actor: actor, Name: "n\x00", Action: action, Target: "t", Outcome: "done",
			Source: "192.0.2.1", Request: "r", Times: 2}
	}
	one, two, three := line(host.ActorOperator, "pause"), line(host.ActorCommand, "key create"), line(host.ActorOperator, "resume")
	s.check(s.AppendAudit(s.ctx(), nil))
	s.check(s.AppendAudit(s.ctx(), []host.AuditLine{one, two}))
	s.check(s.AppendAudit(s.ctx(), []host.AuditLine{three}))
	ids := func(q host.AuditQuery) (out []host.AuditID) {
		all, err := s.Audit(s.ctx(), q)
		s.check(err)
		for _, l := range all {
			if l.At.IsZero() || l.Times != 2 || l.Name != "n" || l.Target != "t" || l.Outcome != "done" || l.Source != "192.0.2.1" || l.Request != "r" {
				s.Errorf("line %+v", l)
			}
			out = append(out, l.ID)
		}
		return out
	}
	for name, c := range map[string]struct {
		q    host.AuditQuery
		want []host.AuditID
	}{
		"all":       {host.AuditQuery{}, []host.AuditID{three.ID, two.ID, one.ID}},
		"a page":    {host.AuditQuery{Limit: 2}, []host.AuditID{three.ID, two.ID}},
		"the next":  {host.AuditQuery{Limit: 2, After: two.ID}, []host.AuditID{one.ID}},
		"by actor":  {host.AuditQuery{Actor: host.ActorOperator}, []host.AuditID{three.ID, one.ID}},
		"by action": {host.AuditQuery{Action: "pause"}, []host.AuditID{one.ID}},
		"none":      {host.AuditQuery{Action: "\x00x"}, nil},
	} {
		if diff := cmp.Diff(c.want, ids(c.q)); diff != "" {
			s.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if err := s.AppendAudit(s.ctx(), []host.AuditLine{line("x", "x"), one}); !errors.Is(err, host.ErrConflict) {
		s.Errorf("a line that is there: %v", err)
	}
	if n := len(ids(host.AuditQuery{})); n != 3 {
		s.Errorf("%d lines, want all of a batch or none", n)
	}
	if _, err := s.Audit(s.ctx(), host.AuditQuery{After: "x"}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("a cursor that is none: %v", err)
	}
}

func testAuditKept(s *suite) {
	add := func(action string) {
		s.check(s.AppendAudit(s.ctx(), []host.AuditLine{{ID: host.NewAuditID(), Actor: "a", Action: action}}))
	}
	s.advance(-(host.AuditKept + time.Hour))
	add("old")
	add("old")
	s.advance(host.AuditKept + time.Hour)
	add("young")
	for _, want := range []int{1, 1, 0} {
		if n, err := s.DropAudit(s.ctx(), 1); err != nil || n != want {
			s.Errorf("dropped %d, %v, want %d", n, err, want)
		}
	}
	if all, err := s.Audit(s.ctx(), host.AuditQuery{}); err != nil || len(all) != 1 || all[0].Action != "young" || all[0].Times != 1 {
		s.Errorf("left: %+v, %v", all, err)
	}
}
