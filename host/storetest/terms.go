package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// fullOverride has every field, so that none is lost on its way.
func fullOverride() host.Override {
	return host.Override{
		RequestRate: &host.Rate{Count: 7, Per: time.Minute}, UploadRate: &host.Rate{},
		ArchiveSize: new(int64(1)), UnpackedSize: new(int64(2)), StorageQuota: new(int64(0)), ScansPerDay: new(int64(4)),
		QueuedScans: new(int64(5)), Priority: new(host.PriorityLow), Findings: new(6), Artifacts: new(int64(7)), Retention: new(8 * time.Hour),
		Targets: &[]string{"*.example.com", "localhost:8080"},
	}
}

func testTerms(s *suite) {
	id := host.NewTenantID()
	terms := host.Terms{Plan: "free", Override: fullOverride()}
	s.check(s.CreateTenant(s.ctx(), host.Tenant{ID: id, Name: "with-plan", Terms: terms}))
	key := newKey(id, 1)
	s.check(s.CreateKey(s.ctx(), key))
	want := func(when string, terms host.Terms) {
		s.Helper()
		tenant, err := s.TenantByName(s.ctx(), "with-plan")
		s.check(err)
		used, err := s.UseKey(s.ctx(), key.Hash)
		s.check(err)
		if diff := cmp.Diff([]host.Terms{terms, terms}, []host.Terms{tenant.Terms, used.Terms}); diff != "" {
			s.Errorf("%s, of the tenant and of its key (-want +got):\n%s", when, diff)
		}
	}
	want("as made", terms)
	terms = host.Terms{Plan: "premium", Override: host.Override{QueuedScans: new(int64(0))}}
	s.check(s.SetTerms(s.ctx(), id, terms))
	want("changed", terms)
	s.check(s.SetTerms(s.ctx(), id, host.Terms{}))
	want("taken back", host.Terms{})

	for name, bad := range map[string]host.Terms{
		"long name": {Plan: string(make([]byte, host.MaxPlanName+1))},
		"negative":  {Override: host.Override{StorageQuota: new(int64(-1))}},
		"retention": {Override: host.Override{Retention: new(-time.Second)}},
		"priority":  {Override: host.Override{Priority: new(host.Priority("urgent"))}},
		"targets":   {Override: host.Override{Targets: &[]string{"EXAMPLE.com"}}},
		"rate":      {Override: host.Override{RequestRate: &host.Rate{Count: 1}}},
	} {
		if err := s.SetTerms(s.ctx(), id, bad); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v", name, err)
		}
		if err := s.CreateTenant(s.ctx(), host.Tenant{ID: host.NewTenantID(), Name: "bad", Terms: bad}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("new with %s: %v", name, err)
		}
	}
	for _, unknown := range []host.TenantID{host.NewTenantID(), "x"} {
		if err := s.SetTerms(s.ctx(), unknown, host.Terms{}); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("unknown tenant: %v", err)
		}
	}
}
