package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func newOperatorKey(b byte) host.OperatorKey {
	return host.OperatorKey{ID: host.NewKeyID(), Name: "ann", Prefix: "st_abc", Hash: [32]byte{b, 31: b}}
}

func testOperatorKeys(s *suite) {
	one, two := newOperatorKey(1), newOperatorKey(2)
	s.check(s.CreateOperatorKey(s.ctx(), one))
	two.Name = "a\x00b\xff"
	s.check(s.CreateOperatorKey(s.ctx(), two))
	two.Name = "ab\uFFFD"
	got, err := s.UseOperatorKey(s.ctx(), two.Hash)
	s.check(err)
	two.CreatedAt, two.LastUsedAt = got.CreatedAt, got.LastUsedAt
	if diff := cmp.Diff(two, got); diff != "" || got.CreatedAt.IsZero() || !got.LastUsedAt.Equal(got.LastUsedAt.Truncate(time.Minute)) {
		s.Errorf("used key (-want +got):\n%s", diff)
	}
	keys, err := s.OperatorKeys(s.ctx())
	s.check(err)
	if len(keys) != 2 || keys[0].ID != one.ID || !keys[0].LastUsedAt.IsZero() || !cmp.Equal(keys[1], two) {
		s.Errorf("keys %+v", keys)
	}
	if err := s.CreateOperatorKey(s.ctx(), newOperatorKey(1)); !errors.Is(err, host.ErrConflict) {
		s.Errorf("same hash: %v", err)
	}
	bad := newOperatorKey(3)
	bad.ID = "x"
	if err := s.CreateOperatorKey(s.ctx(), bad); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("an id that is none: %v", err)
	}
}

func testOperatorKeysEnd(s *suite) {
	revoked, expiring := newOperatorKey(1), newOperatorKey(2)
	s.check(s.CreateOperatorKey(s.ctx(), revoked))
	expiring.ExpiresAt = s.now().Add(time.Hour)
	s.check(s.CreateOperatorKey(s.ctx(), expiring))
	for _, k := range []host.OperatorKey{revoked, expiring} {
		if _, err := s.UseOperatorKey(s.ctx(), k.Hash); err != nil {
			s.Fatal(err)
		}
	}
	s.check(s.RevokeOperatorKey(s.ctx(), revoked.ID))
	s.check(s.RevokeOperatorKey(s.ctx(), revoked.ID))
	for _, id := range []host.KeyID{host.NewKeyID(), "x", "\x00"} {
		if err := s.RevokeOperatorKey(s.ctx(), id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("revoke %q: %v", id, err)
		}
	}
	s.advance(59 * time.Minute)
	if _, err := s.UseOperatorKey(s.ctx(), expiring.Hash); err != nil {
		s.Errorf("before it expires: %v", err)
	}
	s.advance(2 * time.Minute)
	for _, k := range []host.OperatorKey{revoked, expiring, newOperatorKey(42)} {
		if _, err := s.UseOperatorKey(s.ctx(), k.Hash); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("key %d: %v, want not found", k.Hash[0], err)
		}
	}
	if keys, err := s.OperatorKeys(s.ctx()); err != nil || len(keys) != 2 || keys[0].RevokedAt.IsZero() {
		s.Errorf("keys %+v, %v", keys, err)
	}
}

// testOperatorKeysApart: the same secret is never good on the other side.
func testOperatorKeysApart(s *suite) {
	operator, tenant := newOperatorKey(1), newKey(s.tenant(), 2)
	s.check(s.CreateOperatorKey(s.ctx(), operator))
	s.check(s.CreateKey(s.ctx(), tenant))
	if _, err := s.UseKey(s.ctx(), operator.Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("an operator's key as a tenant's: %v", err)
	}
	if _, err := s.UseOperatorKey(s.ctx(), tenant.Hash); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("a tenant's key as an operator's: %v", err)
	}
	if keys, err := s.Keys(s.ctx(), tenant.TenantID); err != nil || len(keys) != 1 {
		s.Errorf("the tenant's keys: %v, %v", keys, err)
	}
}
