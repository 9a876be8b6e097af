package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func newTarget(t host.TenantID, name string) host.Target {
	id := host.NewTargetID()
	return host.Target{ID: id, TenantID: t, Host: name, Token: "token-" + string(id)}
}

// target stores one.
func (s *suite) target(t host.TenantID, name string) host.Target {
	s.Helper()
	out, err := s.CreateTarget(s.ctx(), newTarget(t, name))
	s.check(err)
	return out
}

// prove stores that a check found the token.
func (s *suite) prove(g host.Target, proof host.Proof) host.Target {
	s.Helper()
	_, err := s.BeginTargetCheck(s.ctx(), g.TenantID, g.ID, 0)
	s.check(err)
	out, err := s.EndTargetCheck(s.ctx(), g.TenantID, g.ID, host.TargetCheck{Proof: proof})
	s.check(err)
	return out
}

// testTargets: another tenant's targets change nothing, of the same host too.
func testTargets(s *suite) {
	t, other := s.tenant(), s.tenant()
	in := newTarget(t, "shop.example.com")
	got, err := s.CreateTarget(s.ctx(), in)
	s.check(err)
	in.CreatedAt = got.CreatedAt
	if diff := cmp.Diff(in, got); diff != "" || got.CreatedAt.IsZero() {
		s.Errorf("as made (-want +got):\n%s", diff)
	}
	theirs := s.target(other, "shop.example.com")
	first := s.target(t, "a.example.com")
	if all, err := s.Targets(s.ctx(), t); err != nil || !cmp.Equal(all, []host.Target{first, got}) {
		s.Errorf("listed %+v, %v", all, err)
	}
	if one, err := s.Target(s.ctx(), t, got.ID); err != nil || !cmp.Equal(one, got) {
		s.Errorf("read %+v, %v", one, err)
	}
	s.check(s.DeleteTarget(s.ctx(), t, first.ID))
	for _, c := range []struct {
		who host.TenantID
		id  host.TargetID
	}{{t, first.ID}, {t, theirs.ID}, {other, got.ID}, {t, "x"}, {"x", got.ID}} {
		_, read := s.Target(s.ctx(), c.who, c.id)
		_, begin := s.BeginTargetCheck(s.ctx(), c.who, c.id, 0)
		_, end := s.EndTargetCheck(s.ctx(), c.who, c.id, host.TargetCheck{Proof: host.ProofDNS})
		for i, err := range []error{read, begin, end, s.DeleteTarget(s.ctx(), c.who, c.id)} {
			if !errors.Is(err, host.ErrNotFound) {
				s.Errorf("call %d with tenant %s and target %s: %v", i, c.who, c.id, err)
			}
		}
	}
	if one, err := s.Target(s.ctx(), t, got.ID); err != nil || !cmp.Equal(one, got) {
		s.Errorf("afterwards %+v, %v", one, err)
	}
	s.target(t, "a.example.com") // its name is free
}

func testTargetsRefused(s *suite) {
	t := s.tenant()
	for what, change := range map[string]func(*host.Target){
		"an id that is none": func(g *host.Target) { g.ID = "x" }, "no host": func(g *host.Target) { g.Host = "" }, "no token": func(g *host.Target) { g.Token = "" },
	} {
		g := newTarget(t, "example.com")
		change(&g)
		if _, err := s.CreateTarget(s.ctx(), g); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.CreateTarget(s.ctx(), newTarget(host.NewTenantID(), "example.com")); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("of a tenant that is not there: %v", err)
	}
	for i := range host.MaxTargets {
		s.target(t, fmt.Sprintf("%d.example.com", i))
	}
	if _, err := s.CreateTarget(s.ctx(), newTarget(t, "example.com")); !errors.Is(err, host.ErrOverQuota) {
		s.Errorf("one too many: %v", err)
	}
	if _, err := s.CreateTarget(s.ctx(), newTarget(t, "7.example.com")); !errors.Is(err, host.ErrConflict) {
		s.Errorf("a second time: %v", err)
	}
	g := s.target(s.tenant(), "example.com")
	if _, err := s.CreateTarget(s.ctx(), newTarget(g.TenantID, "example.com")); !errors.Is(err, host.ErrConflict) {
		s.Errorf("a second time, with room: %v", err)
	}
	for _, c := range []host.TargetCheck{{Proof: "word"}, {Proof: host.ProofDNS, Gone: true}} {
		if _, err := s.EndTargetCheck(s.ctx(), g.TenantID, g.ID, c); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("check %+v: %v", c, err)
		}
	}
}

// testTargetChecks: a check that did not find the token leaves an earlier proof as
// it was, unless the token is certainly gone.
func testTargetChecks(s *suite) {
	g := s.target(s.tenant(), "example.com")
	end := func(c host.TargetCheck) host.Target {
		s.Helper()
		out, err := s.EndTargetCheck(s.ctx(), g.TenantID, g.ID, c)
		s.check(err)
		return out
	}
	begun, err := s.BeginTargetCheck(s.ctx(), g.TenantID, g.ID, time.Minute)
	s.check(err)
	if begun.CheckedAt.IsZero() || begun.Token != g.Token {
		s.Errorf("begun: %+v", begun)
	}
	if _, err := s.BeginTargetCheck(s.ctx(), g.TenantID, g.ID, time.Minute); !errors.Is(err, host.ErrConflict) {
		s.Errorf("again at once: %v", err)
	}
	s.advance(2 * time.Minute)
	if again, err := s.BeginTargetCheck(s.ctx(), g.TenantID, g.ID, time.Minute); err != nil || !again.CheckedAt.After(begun.CheckedAt) {
		s.Errorf("again later: %+v, %v", again, err)
	}
	if got := end(host.TargetCheck{Fault: "no such record"}); got.Proof != host.ProofNone || !got.ProvenAt.IsZero() || got.Fault != "no such record" {
		s.Errorf("not found: %+v", got)
	}
	proven := end(host.TargetCheck{Proof: host.ProofFile})
	if proven.Proof != host.ProofFile || proven.ProvenAt.IsZero() || proven.Fault != "" {
		s.Errorf("found: %+v", proven)
	}
	s.advance(time.Minute)
	if got := end(host.TargetCheck{Fault: "timed out"}); got.Proof != host.ProofFile || !got.ProvenAt.Before(proven.ProvenAt.Add(time.Second)) || got.Fault != "timed out" {
		s.Errorf("perhaps not there: %+v", got)
	}
	if got := end(host.TargetCheck{Proof: host.ProofDNS}); got.Proof != host.ProofDNS {
		s.Errorf("found elsewhere: %+v", got)
	}
	if got := end(host.TargetCheck{Fault: "another token", Gone: true}); got.Proof != host.ProofNone || !got.ProvenAt.IsZero() || got.Fault != "another token" {
		s.Errorf("gone: %+v", got)
	}
}

func testTargetsDue(s *suite) {
	const age, life = 24 * time.Hour, 72 * time.Hour
	t := s.tenant()
	first, second := s.prove(s.target(t, "a.example.com"), host.ProofDNS), s.prove(s.target(s.tenant(), "b.example.com"), host.ProofFile)
	s.target(t, "never.example.com")
	take := func(limit int, want ...host.Target) {
		s.Helper()
		due, err := s.DueTargets(s.ctx(), age, life, limit)
		s.check(err)
		var got, expected []host.TargetID
		for _, g := range due {
			got = append(got, g.ID)
		}
		for _, g := range want {
			expected = append(expected, g.ID)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			s.Errorf("due (-want +got):\n%s", diff)
		}
	}
	take(10)
	s.advance(25 * time.Hour)
	take(1, first)
	take(10, second)
	take(10)
	s.advance(50 * time.Hour)
	take(10) // their proofs have ended
}

// testPermit: a proof permits while it is young, and only for its own tenant.
func testPermit(s *suite) {
	const life = 72 * time.Hour
	t, other := s.tenant(), s.tenant()
	terms := host.Terms{Plan: "p", Override: host.Override{Targets: &[]string{"*"}}}
	s.check(s.SetTerms(s.ctx(), t, terms))
	proven := s.prove(s.target(t, "example.com"), host.ProofDNS)
	port := s.prove(s.target(t, "example.com:8443"), host.ProofFile)
	s.target(t, "www.example.com")
	theirs := s.prove(s.target(other, "example.com"), host.ProofFile)
	got, all, err := s.Permit(s.ctx(), t, life)
	s.check(err)
	if diff := cmp.Diff(terms, got); diff != "" {
		s.Errorf("terms (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]host.Target{proven, port}, all); diff != "" {
		s.Errorf("proven (-want +got):\n%s", diff)
	}
	if _, all, err := s.Permit(s.ctx(), other, life); err != nil || !cmp.Equal(all, []host.Target{theirs}) {
		s.Errorf("another tenant: %+v, %v", all, err)
	}
	if _, all, err := s.Permit(s.ctx(), s.tenant(), life); err != nil || len(all) != 0 {
		s.Errorf("a tenant without targets: %+v, %v", all, err)
	}
	for _, who := range []host.TenantID{host.NewTenantID(), "x"} {
		if _, _, err := s.Permit(s.ctx(), who, life); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("tenant %s: %v", who, err)
		}
	}
	s.advance(life + time.Minute)
	if _, all, err := s.Permit(s.ctx(), t, life); err != nil || len(all) != 0 {
		s.Errorf("when it is old: %+v, %v", all, err)
	}
}
