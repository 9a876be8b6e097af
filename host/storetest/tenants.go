package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func testTenants(s *suite) {
	if all, err := s.Tenants(s.ctx()); err != nil || len(all) != 0 {
		s.Fatalf("an empty store has tenants %v, %v", all, err)
	}
	for _, name := range []string{"zebra", "alpha", "a-1"} {
		s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: name}))
	}
	all, err := s.Tenants(s.ctx())
	s.check(err)
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
		if t.CreatedAt.IsZero() || t.CreatedAt.Location() != time.UTC {
			s.Errorf("tenant %s was created at %v", t.Name, t.CreatedAt)
		}
	}
	if want := []string{"a-1", "alpha", "zebra"}; !slices.Equal(names, want) {
		s.Errorf("tenants %v, want %v", names, want)
	}
	got, err := s.TenantByName(s.ctx(), "alpha")
	s.check(err)
	if diff := cmp.Diff(all[1], got); diff != "" {
		s.Errorf("by name (-list +got):\n%s", diff)
	}
	if _, err := s.TenantByName(s.ctx(), "nobody"); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("unknown name: %v", err)
	}
	if err := s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: "alpha"}); !errors.Is(err, host.ErrConflict) {
		s.Errorf("name taken: %v", err)
	}
	if err := s.CreateTenant(s.ctx(), host.Tenant{ID: all[0].ID, Name: "other"}); !errors.Is(err, host.ErrConflict) {
		s.Errorf("id taken: %v", err)
	}
	for _, name := range []string{"", "-x", "Upper", "a b", string(make([]byte, 64))} {
		if err := s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: name}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("name %q: %v", name, err)
		}
	}
	if err := s.CreateTenant(s.ctx(), host.Tenant{ID: "x", Name: "fine"}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("id x: %v", err)
	}
}

func newKey(t host.TenantID, b byte) host.Key {
	return host.Key{ID: host.NewKeyID(), TenantID: t, Name: "ci", Prefix: "st_abc", Scopes: host.DefaultScopes(), Hash: [32]byte{b, 31: b}}
}

func testKeys(s *suite) {
	t := s.tenant()
	one, two := newKey(t, 1), newKey(t, 2)
	s.check(s.CreateKey(s.ctx(), one))
	s.check(s.CreateKey(s.ctx(), two))
	got, err := s.UseKey(s.ctx(), two.Hash)
	s.check(err)
	two.CreatedAt, two.LastUsedAt = got.CreatedAt, got.LastUsedAt
	if diff := cmp.Diff(two, got); diff != "" || got.CreatedAt.IsZero() || got.LastUsedAt.IsZero() {
		s.Errorf("used key (-want +got):\n%s", diff)
	}
	keys, err := s.Keys(s.ctx(), t)
	s.check(err)
	if len(keys) != 2 || keys[0].ID != one.ID || keys[1].ID != two.ID {
		s.Fatalf("keys %v", keys)
	}
	if diff := cmp.Diff(two, keys[1]); diff != "" {
		s.Errorf("listed key (-want +got):\n%s", diff)
	}
	if !keys[0].LastUsedAt.IsZero() {
		s.Errorf("a key that nobody used was last used at %v", keys[0].LastUsedAt)
	}
	again := newKey(t, 1)
	if err := s.CreateKey(s.ctx(), again); !errors.Is(err, host.ErrConflict) {
		s.Errorf("same hash: %v", err)
	}
	if err := s.CreateKey(s.ctx(), newKey(host.NewTenantID(), 9)); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("unknown tenant: %v", err)
	}
	if err := s.CreateKey(s.ctx(), newKey("nobody", 9)); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("tenant that is no id: %v", err)
	}
	if _, err := s.UseKey(s.ctx(), [32]byte{42}); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("unknown hash: %v", err)
	}
}

func testKeysEnd(s *suite) {
	t := s.tenant()
	revoked, expiring := newKey(t, 1), newKey(t, 2)
	s.check(s.CreateKey(s.ctx(), revoked))
	created, err := s.Keys(s.ctx(), t)
	s.check(err)
	expiring.ExpiresAt = created[0].CreatedAt.Add(time.Hour)
	s.check(s.CreateKey(s.ctx(), expiring))
	for _, k := range []host.Key{revoked, expiring} {
		if _, err := s.UseKey(s.ctx(), k.Hash); err != nil {
			s.Fatal(err)
		}
	}
	s.check(s.RevokeKey(s.ctx(), t, revoked.ID))
	if _, err := s.UseKey(s.ctx(), revoked.Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("revoked: %v", err)
	}
	first, err := s.Keys(s.ctx(), t)
	s.check(err)
	s.check(s.RevokeKey(s.ctx(), t, revoked.ID))
	second, err := s.Keys(s.ctx(), t)
	s.check(err)
	if len(second) != 2 || second[0].RevokedAt.IsZero() || !second[0].RevokedAt.Equal(first[0].RevokedAt) {
		s.Errorf("revoked at %v, then at %v", first[0].RevokedAt, second[0].RevokedAt)
	}
	s.advance(59 * time.Minute)
	if _, err := s.UseKey(s.ctx(), expiring.Hash); err != nil {
		s.Errorf("before it expires: %v", err)
	}
	s.advance(2 * time.Minute)
	if _, err := s.UseKey(s.ctx(), expiring.Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("expired: %v", err)
	}
}

func testKeyIsolation(s *suite) {
	mine, theirs := s.tenant(), s.tenant()
	k := newKey(mine, 1)
	s.check(s.CreateKey(s.ctx(), k))
	if keys, err := s.Keys(s.ctx(), theirs); err != nil || len(keys) != 0 {
		s.Errorf("another tenant sees %v, %v", keys, err)
	}
	for _, id := range []host.KeyID{k.ID, host.NewKeyID(), "x"} {
		if err := s.RevokeKey(s.ctx(), theirs, id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("revoke %q for another tenant: %v", id, err)
		}
	}
	if _, err := s.UseKey(s.ctx(), k.Hash); err != nil {
		s.Errorf("after another tenant tried to revoke it: %v", err)
	}
	if keys, err := s.Keys(s.ctx(), "x"); err != nil || len(keys) != 0 {
		s.Errorf("keys of a tenant that is no id: %v, %v", keys, err)
	}
}

func testKeyLastUsed(s *suite) {
	k := newKey(s.tenant(), 1)
	s.check(s.CreateKey(s.ctx(), k))
	first, err := s.UseKey(s.ctx(), k.Hash)
	s.check(err)
	if got := first.LastUsedAt; !got.Equal(got.Truncate(time.Minute)) || first.CreatedAt.Sub(got) > 2*time.Minute {
		s.Errorf("last used %v, want the minute of %v", got, first.CreatedAt)
	}
	s.advance(10 * time.Minute)
	second, err := s.UseKey(s.ctx(), k.Hash)
	s.check(err)
	// The harness may move the clock or the rows: compare distances.
	if d := second.LastUsedAt.Sub(second.CreatedAt) - first.LastUsedAt.Sub(first.CreatedAt); !near(d, 10*time.Minute) && (d-10*time.Minute).Abs() > time.Minute {
		s.Errorf("last used moved by %v, want 10 min", d)
	}
}

func testHostileStrings(s *suite) {
	t := s.tenant()
	k := newKey(t, 1)
	k.Name, k.Prefix = "a\x00b\xff", "\xc3\x28"
	s.check(s.CreateKey(s.ctx(), k))
	keys, err := s.Keys(s.ctx(), t)
	s.check(err)
	if keys[0].Name != "ab\uFFFD" || keys[0].Prefix != "\uFFFD(" {
		s.Errorf("stored as %q, %q", keys[0].Name, keys[0].Prefix)
	}
	scan := newScan(t, "p")
	scan.Type, scan.Project, scan.Input = "web\x00", "p\xff", host.Input{Archive: &host.Archive{Filename: "../\x00\xfe.zip", Format: "zip"}}
	accepted := s.accept(scan)
	if diff := cmp.Diff(accepted, s.get(scan)); diff != "" {
		s.Errorf("answered one thing and stored another (-answered +stored):\n%s", diff)
	}
	if got := accepted.Input.Archive.Filename; got != "../\uFFFD.zip" {
		s.Errorf("file name %q", got)
	}
	l := s.claimAll(accepted)[0].Lease
	pulses, err := s.Heartbeat(s.ctx(), []host.Beat{{Lease: l, Progress: host.Progress{Message: "\x00\xff<b>", Phase: "\xff"}}}, ttl)
	if err != nil || len(pulses) != 1 {
		s.Fatalf("heartbeat: %v, %v", pulses, err)
	}
	if got := s.job(scan).Progress; got != (host.Progress{Message: "\uFFFD<b>", Phase: "\uFFFD"}) {
		s.Errorf("progress %+v", got)
	}
	o := end(l, host.StateFailed)
	o.Error.Message = "\x00bad\xff"
	s.finish(o)
	if got := s.job(scan).Error.Message; got != "bad\uFFFD" {
		s.Errorf("error %q", got)
	}
	for _, name := range []string{"\x00", "\xff", "' or 1=1 --"} {
		if _, err := s.TenantByName(s.ctx(), name); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("tenant %q: %v", name, err)
		}
	}
}
