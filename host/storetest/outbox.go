package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// deliveryTTL is the length of a delivery's lease.
const deliveryTTL = time.Minute

func (s *suite) takeDeliveries(q host.ClaimDeliveries) []host.DeliveryClaim {
	s.Helper()
	q.Owner, q.TTL = "host-a", deliveryTTL
	out, err := s.ClaimDeliveries(s.ctx(), q)
	s.check(err)
	return out
}

// takeDelivery claims the one that is due.
func (s *suite) takeDelivery() host.DeliveryClaim {
	s.Helper()
	out := s.takeDeliveries(host.ClaimDeliveries{Limit: 1})
	if len(out) != 1 {
		s.Fatalf("claimed %d deliveries, want one", len(out))
	}
	return out[0]
}

func (s *suite) finishDelivery(o host.DeliveryOutcome) (disabled bool) {
	s.Helper()
	disabled, err := s.FinishDelivery(s.ctx(), o)
	s.check(err)
	return disabled
}

// ping adds a delivery to a webhook.
func (s *suite) ping(w host.Webhook) host.Delivery {
	s.Helper()
	d, err := s.TestWebhook(s.ctx(), w.TenantID, w.ID)
	s.check(err)
	return d
}

func testClaimDeliveries(s *suite) {
	one, two := s.hook(newWebhook(s.tenant())), s.hook(newWebhook(s.tenant()))
	first := s.ping(one)
	s.advance(time.Second)
	for range 5 {
		s.ping(one)
	}
	other := s.ping(two)
	// One of each tenant, and the oldest: a backlog keeps nobody waiting.
	got := s.takeDeliveries(host.ClaimDeliveries{Limit: 10})
	ids := map[host.DeliveryID]bool{}
	for _, c := range got {
		ids[c.ID] = true
		if c.Attempts != 1 || c.State != host.DeliveryPending || c.Webhook.URL != one.URL || c.Webhook.Secret != "whsec_one" || c.Webhook.OldSecret != "" || c.Lease == "" ||
			!near(c.NextAt.Sub(c.CreatedAt), deliveryTTL) {
			s.Errorf("claimed %+v", c)
		}
	}
	if diff := cmp.Diff(map[host.DeliveryID]bool{first.ID: true, other.ID: true}, ids); diff != "" {
		s.Errorf("claimed (-want +got):\n%s", diff)
	}
	for what, q := range map[string]host.ClaimDeliveries{
		"no room":             {},
		"the webhook is busy": {Limit: 10, WithoutWebhooks: []host.WebhookID{one.ID, "x"}},
		"the tenant is busy":  {Limit: 10, WithoutTenants: []host.TenantID{one.TenantID, "x"}},
	} {
		if out := s.takeDeliveries(q); len(out) != 0 {
			s.Errorf("%s: claimed %+v", what, out)
		}
	}
	// The first one's host is gone; it is due again, and no earlier.
	c := got[0]
	s.advance(deliveryTTL / 2)
	if _, err := s.Redeliver(s.ctx(), c.Webhook.TenantID, c.WebhookID, c.ID); err != nil {
		s.Errorf("again while it is under way: %v", err)
	}
	s.advance(deliveryTTL)
	again := s.takeDeliveries(host.ClaimDeliveries{Limit: 10, WithoutTenants: []host.TenantID{one.TenantID}})
	if len(again) != 1 || again[0].ID != other.ID || again[0].Attempts != 2 {
		s.Fatalf("after the lease: %+v", again)
	}
	for _, old := range got {
		if old.ID != other.ID {
			continue
		}
		if _, err := s.FinishDelivery(s.ctx(), host.DeliveryOutcome{ID: old.ID, Lease: old.Lease, State: host.DeliveryDelivered}); !errors.Is(err, host.ErrLeaseLost) {
			s.Errorf("finished with the old lease: %v", err)
		}
	}
	s.finishDelivery(host.DeliveryOutcome{ID: other.ID, Lease: again[0].Lease, State: host.DeliveryDelivered})
	for _, o := range []host.DeliveryOutcome{{ID: other.ID, Lease: again[0].Lease}, {ID: "x", Lease: "x"}, {ID: host.NewDeliveryID(), Lease: again[0].Lease}} {
		o.State = host.DeliveryFailed
		if _, err := s.FinishDelivery(s.ctx(), o); !errors.Is(err, host.ErrLeaseLost) {
			s.Errorf("finished %s again: %v", o.ID, err)
		}
	}
	// What a dead owner had is given back, and not counted: this one, and the first
	// of before, whose lease is over.
	n, err := s.ReleaseDeliveries(s.ctx(), "host-b")
	if err != nil || n != 0 {
		s.Errorf("gave back %d of another, %v", n, err)
	}
	c = s.takeDelivery()
	if n, err := s.ReleaseDeliveries(s.ctx(), "host-a"); err != nil || n != 2 {
		s.Errorf("gave back %d, %v", n, err)
	}
	for _, d := range s.messages(one) {
		if d.ID == c.ID && (d.Attempts != c.Attempts-1 || d.State != host.DeliveryPending) {
			s.Errorf("given back: %+v", d)
		}
	}
}

func testFinishDelivery(s *suite) {
	w := s.hook(newWebhook(s.tenant()))
	d := s.ping(w)
	c := s.takeDelivery()
	for _, o := range []host.DeliveryOutcome{{State: "lost"}, {State: host.DeliveryPending, Retry: -1}, {State: host.DeliveryFailed, Release: true}} {
		o.ID, o.Lease = c.ID, c.Lease
		if _, err := s.FinishDelivery(s.ctx(), o); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%+v: %v", o, err)
		}
	}
	// Not made, so not counted.
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryPending, Release: true, Status: 500, Error: "x"})
	if got := s.messages(w)[0]; got.Attempts != 0 || !got.LastAttemptAt.IsZero() || got.Status != 0 || got.Error != "" {
		s.Errorf("given back: %+v", got)
	}
	c = s.takeDelivery()
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryPending, Retry: time.Hour, Status: 503, Error: "the answer\x00", Took: time.Second})
	got := s.messages(w)[0]
	if got.ID != d.ID || got.State != host.DeliveryPending || got.Attempts != 1 || got.Status != 503 || got.Error != "the answer" || got.Took != time.Second ||
		got.LastAttemptAt.IsZero() || !near(got.NextAt.Sub(got.CreatedAt), time.Hour) {
		s.Errorf("after a failure: %+v", got)
	}
	if hook, err := s.Webhook(s.ctx(), w.TenantID, w.ID); err != nil || hook.FailingSince.IsZero() || !hook.DisabledAt.IsZero() {
		s.Errorf("its webhook: %+v, %v", hook, err)
	}
	if out := s.takeDeliveries(host.ClaimDeliveries{Limit: 1}); len(out) != 0 {
		s.Errorf("before its time: %+v", out)
	}
	s.advance(61 * time.Minute)
	c = s.takeDelivery()
	if c.Attempts != 2 {
		s.Errorf("claimed %+v", c)
	}
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered, Status: 200})
	got = s.messages(w)[0]
	if got.State != host.DeliveryDelivered || got.Error != "" || got.Status != 200 || !got.NextAt.IsZero() {
		s.Errorf("delivered: %+v", got)
	}
	if hook, err := s.Webhook(s.ctx(), w.TenantID, w.ID); err != nil || !hook.FailingSince.IsZero() {
		s.Errorf("its webhook: %+v, %v", hook, err)
	}
	// Replayed, it is the same message.
	if again, err := s.Redeliver(s.ctx(), w.TenantID, w.ID, d.ID); err != nil || again.ID != d.ID || again.State != host.DeliveryPending || again.Attempts != 0 {
		s.Errorf("again: %+v, %v", again, err)
	}
	if c = s.takeDelivery(); c.ID != d.ID || c.Attempts != 1 {
		s.Errorf("claimed %+v", c)
	}
	if _, err := s.Redeliver(s.ctx(), w.TenantID, w.ID, host.NewDeliveryID()); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("one that is not there: %v", err)
	}
}

func testWebhookSlowsDown(s *suite) {
	w := s.hook(newWebhook(s.tenant()))
	s.ping(w)
	s.ping(w)
	c := s.takeDelivery()
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryPending, Pause: 10 * time.Minute})
	if out := s.takeDeliveries(host.ClaimDeliveries{Limit: 10}); len(out) != 0 {
		s.Errorf("while it is paused: %+v", out)
	}
	s.advance(11 * time.Minute)
	c = s.takeDelivery()
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered})
	s.takeDelivery()
}

func testWebhookDisabled(s *suite) {
	w := s.hook(newWebhook(s.tenant()))
	on, off := true, false
	wantFailed := func(why string) {
		s.Helper()
		hook, err := s.Webhook(s.ctx(), w.TenantID, w.ID)
		if err != nil || hook.DisabledAt.IsZero() || len(why) > 0 && (len(hook.DisabledReason) < len(why) || hook.DisabledReason[:len(why)] != why) {
			s.Errorf("the webhook is %+v, %v, want it disabled: %s", hook, err, why)
		}
		for _, d := range s.messages(w) {
			if d.State != host.DeliveryFailed || d.Error == "" {
				s.Errorf("delivery %+v", d)
			}
		}
		if _, err := s.TestWebhook(s.ctx(), w.TenantID, w.ID); !errors.Is(err, host.ErrConflict) {
			s.Errorf("test: %v", err)
		}
		if _, err := s.Redeliver(s.ctx(), w.TenantID, w.ID, s.messages(w)[0].ID); !errors.Is(err, host.ErrConflict) {
			s.Errorf("again: %v", err)
		}
		if out := s.takeDeliveries(host.ClaimDeliveries{Limit: 10}); len(out) != 0 {
			s.Errorf("claimed %+v", out)
		}
		hook, err = s.UpdateWebhook(s.ctx(), w.TenantID, w.ID, 0, host.WebhookChange{Enabled: &on})
		if err != nil || !hook.DisabledAt.IsZero() || hook.DisabledReason != "" || !hook.FailingSince.IsZero() {
			s.Errorf("enabled: %+v, %v", hook, err)
		}
	}
	// The receiver wants no more.
	s.ping(w)
	s.ping(w)
	c := s.takeDelivery()
	if !s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryFailed, Status: 410, Error: "gone", Disable: "the receiver answered 410"}) {
		s.Error("it is not said to be disabled")
	}
	wantFailed("the receiver answered 410")
	// Days of failure; a success in between begins anew.
	fail := func() bool {
		s.Helper()
		s.ping(w)
		c := s.takeDelivery()
		return s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryFailed, Error: "x", DisableAfter: 48 * time.Hour})
	}
	first := fail()
	s.advance(47 * time.Hour)
	if second := fail(); first || second {
		s.Error("disabled before its time")
	}
	s.advance(2 * time.Hour)
	if !fail() {
		s.Error("not disabled after days of failure")
	}
	wantFailed("every delivery has failed since ")
	// The tenant's doing, with what is under way.
	s.ping(w)
	c = s.takeDelivery()
	_, err := s.UpdateWebhook(s.ctx(), w.TenantID, w.ID, 0, host.WebhookChange{Enabled: &off})
	s.check(err)
	if _, err := s.FinishDelivery(s.ctx(), host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered}); !errors.Is(err, host.ErrLeaseLost) {
		s.Errorf("what was under way: %v", err)
	}
	wantFailed("by request")
}

// testWebhookRotate: within the overlap both secrets are given.
func testWebhookRotate(s *suite) {
	w := s.hook(newWebhook(s.tenant()))
	got, err := s.RotateWebhook(s.ctx(), w.TenantID, w.ID, "whsec_two", time.Hour)
	if err != nil || !near(got.OldSecretUntil.Sub(w.CreatedAt), time.Hour) || got.Secret != "" {
		s.Errorf("rotated %+v, %v", got, err)
	}
	secrets := func() string {
		s.Helper()
		s.ping(w)
		c := s.takeDelivery()
		s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered})
		return c.Webhook.Secret + " " + c.Webhook.OldSecret
	}
	if got := secrets(); got != "whsec_two whsec_one" {
		s.Errorf("within the overlap: %s", got)
	}
	s.advance(2 * time.Hour)
	if got := secrets(); got != "whsec_two " {
		s.Errorf("behind the overlap: %s", got)
	}
	got, err = s.RotateWebhook(s.ctx(), w.TenantID, w.ID, "whsec_three", 0)
	if err != nil || !got.OldSecretUntil.IsZero() {
		s.Errorf("rotated at once: %+v, %v", got, err)
	}
	if got := secrets(); got != "whsec_three " {
		s.Errorf("without an overlap: %s", got)
	}
}
