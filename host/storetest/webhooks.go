package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

func newWebhook(t host.TenantID, events ...host.WebhookEvent) host.Webhook {
	if events == nil {
		events = host.WebhookEvents()
	}
	return host.Webhook{ID: host.NewWebhookID(), TenantID: t, URL: "https://hooks.example.com/x", Events: events, Secret: "whsec_one"}
}

// hook makes a webhook for a tenant.
func (s *suite) hook(w host.Webhook) host.Webhook {
	s.Helper()
	out, err := s.CreateWebhook(s.ctx(), w)
	s.check(err)
	return out
}

// messages are the deliveries of a webhook, newest first.
func (s *suite) messages(w host.Webhook) []host.Delivery {
	s.Helper()
	all, err := s.Deliveries(s.ctx(), w.TenantID, w.ID, host.DeliveryQuery{})
	s.check(err)
	return all
}

func testWebhooks(s *suite) {
	t, other := s.tenant(), s.tenant()
	w := newWebhook(t, host.EventScanFailed, host.EventScanCanceled, host.EventScanFailed)
	w.Project = "shop\x00"
	made := s.hook(w)
	want := host.Webhook{ID: w.ID, TenantID: t, Version: 1, Project: "shop", URL: w.URL, Events: []host.WebhookEvent{host.EventScanCanceled, host.EventScanFailed}, CreatedAt: made.CreatedAt}
	if diff := cmp.Diff(want, made); diff != "" || made.CreatedAt.IsZero() || made.CreatedAt.Location() != time.UTC {
		s.Errorf("made (-want +got):\n%s", diff)
	}
	second := s.hook(newWebhook(t))
	s.hook(newWebhook(other))
	if all, err := s.Webhooks(s.ctx(), t); err != nil || len(all) != 2 || !cmp.Equal(all[0], made) || all[1].ID != second.ID {
		s.Errorf("listed %+v, %v", all, err)
	}
	url, project, off, on := "https://hooks.example.com/y", "", false, true
	got, err := s.UpdateWebhook(s.ctx(), t, w.ID, 0, host.WebhookChange{URL: &url, Project: &project, Events: []host.WebhookEvent{host.EventScanPartial}})
	want.URL, want.Project, want.Events, want.Version = url, "", []host.WebhookEvent{host.EventScanPartial}, 2
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		s.Errorf("changed %v (-want +got):\n%s", err, diff)
	}
	got, err = s.UpdateWebhook(s.ctx(), t, w.ID, 0, host.WebhookChange{Enabled: &off})
	if err != nil || got.DisabledAt.IsZero() || got.DisabledReason != "by request" || got.URL != url {
		s.Errorf("disabled %+v, %v", got, err)
	}
	got, err = s.UpdateWebhook(s.ctx(), t, w.ID, 0, host.WebhookChange{Enabled: &on})
	want.Version = 4
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		s.Errorf("enabled %v (-want +got):\n%s", err, diff)
	}
	s.check(s.DeleteWebhook(s.ctx(), t, second.ID))
	if all, err := s.Webhooks(s.ctx(), t); err != nil || len(all) != 1 {
		s.Errorf("after one was deleted: %+v, %v", all, err)
	}
	for _, c := range []struct {
		who host.TenantID
		id  host.WebhookID
	}{{t, second.ID}, {other, w.ID}, {t, "x"}, {"x", w.ID}} {
		_, read := s.Webhook(s.ctx(), c.who, c.id)
		_, change := s.UpdateWebhook(s.ctx(), c.who, c.id, 4, host.WebhookChange{Enabled: &off})
		_, rotate := s.RotateWebhook(s.ctx(), c.who, c.id, "whsec_two", 0)
		_, test := s.TestWebhook(s.ctx(), c.who, c.id)
		_, list := s.Deliveries(s.ctx(), c.who, c.id, host.DeliveryQuery{})
		_, again := s.Redeliver(s.ctx(), c.who, c.id, host.NewDeliveryID())
		for i, err := range []error{read, change, rotate, test, list, again, s.DeleteWebhook(s.ctx(), c.who, c.id)} {
			if !errors.Is(err, host.ErrNotFound) {
				s.Errorf("call %d with tenant %s and webhook %s: %v", i, c.who, c.id, err)
			}
		}
	}
	if got, err := s.Webhook(s.ctx(), t, w.ID); err != nil || !cmp.Equal(got, want) {
		s.Errorf("afterwards %+v, %v", got, err)
	}
}

// testWebhookVersions: of two who change the same version one is told, and what
// nobody set is no version.
func testWebhookVersions(s *suite) {
	w := s.hook(newWebhook(s.tenant()))
	shop, other, off := "shop", "other", false
	_, err := s.RotateWebhook(s.ctx(), w.TenantID, w.ID, "whsec_two", time.Hour)
	s.check(err)
	s.ping(w)
	c := s.takeDelivery()
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryFailed})
	w, err = s.UpdateWebhook(s.ctx(), w.TenantID, w.ID, 1, host.WebhookChange{Project: &shop})
	if err != nil || w.Version != 2 || w.Project != shop || w.FailingSince.IsZero() {
		s.Errorf("changed %+v, %v", w, err)
	}
	for _, version := range []int{1, 3} {
		if _, err := s.UpdateWebhook(s.ctx(), w.TenantID, w.ID, version, host.WebhookChange{Project: &other, Enabled: &off}); !errors.Is(err, host.ErrStale) {
			s.Errorf("of version %d: %v", version, err)
		}
	}
	s.ping(w) // it is not disabled
	if got, err := s.Webhook(s.ctx(), w.TenantID, w.ID); err != nil || !cmp.Equal(got, w) {
		s.Errorf("afterwards %+v, %v, want %+v", got, err, w)
	}
}

func testWebhooksRefused(s *suite) {
	t := s.tenant()
	for what, change := range map[string]func(*host.Webhook){
		"an id that is none": func(w *host.Webhook) { w.ID = "x" }, "no URL": func(w *host.Webhook) { w.URL = "" },
		"no secret": func(w *host.Webhook) { w.Secret = "" }, "no event": func(w *host.Webhook) { w.Events = []host.WebhookEvent{"scan.queued"} },
	} {
		w := newWebhook(t)
		change(&w)
		if _, err := s.CreateWebhook(s.ctx(), w); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.CreateWebhook(s.ctx(), newWebhook(host.NewTenantID())); !errors.Is(err, host.ErrNotFound) {
		s.Errorf("of a tenant that is not there: %v", err)
	}
	w := s.hook(newWebhook(t))
	empty := ""
	for _, c := range []host.WebhookChange{{URL: &empty}, {Events: []host.WebhookEvent{host.EventTest}}} {
		if _, err := s.UpdateWebhook(s.ctx(), t, w.ID, 0, c); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("changed to %+v: %v", c, err)
		}
	}
	for range host.MaxWebhooks - 1 {
		s.hook(newWebhook(t))
	}
	if _, err := s.CreateWebhook(s.ctx(), newWebhook(t)); !errors.Is(err, host.ErrConflict) {
		s.Errorf("one too many: %v", err)
	}
	s.hook(newWebhook(s.tenant()))
}

// testOutboxEnds: in whatever way a scan ends, its webhook is told once, with what
// the scan was then.
func testOutboxEnds(s *suite) {
	t := s.tenant()
	w := s.hook(newWebhook(t))
	ways := map[string]func(host.Scan){
		"succeeded": func(scan host.Scan) {
			l := s.claimAll(scan)[0].Lease
			s.check(s.AddFindings(s.ctx(), l, newFindings(3, host.SeverityHigh)))
			s.finish(end(l, host.StateSucceeded))
		},
		"partial":   func(scan host.Scan) { s.finish(end(s.claimAll(scan)[0].Lease, host.StatePartial)) },
		"failed":    func(scan host.Scan) { s.finish(end(s.claimAll(scan)[0].Lease, host.StateFailed)) },
		"timed_out": func(scan host.Scan) { s.finish(end(s.claimAll(scan)[0].Lease, host.StateTimedOut)) },
		"canceled": func(scan host.Scan) {
			_, err := s.Cancel(s.ctx(), t, scan.ID)
			s.check(err)
			_, err = s.Cancel(s.ctx(), t, scan.ID)
			s.check(err)
		},
		"canceled while it ran": func(scan host.Scan) {
			l := s.claimAll(scan)[0].Lease
			_, err := s.Cancel(s.ctx(), t, scan.ID)
			s.check(err)
			if n := len(s.messages(w)); n != 0 {
				s.Errorf("told of a scan that still runs: %d", n)
			}
			s.finish(end(l, host.StateCanceled))
		},
		"failed with its host": func(scan host.Scan) {
			for range host.CrashLimit {
				s.claimAll(scan)
				_, err := s.ReleaseOwner(s.ctx(), "host-a")
				s.check(err)
			}
		},
		"failed when leases ran out": func(scan host.Scan) {
			for range host.CrashLimit {
				s.claimAll(scan)
				s.advance(2 * ttl)
				_, err := s.Expire(s.ctx(), 10)
				s.check(err)
			}
		},
		"timed_out while it waited": func(scan host.Scan) {
			o := end(s.claimAll(scan)[0].Lease, host.StateQueued)
			o.RetryAfter = 3 * time.Hour
			s.finish(o)
			s.advance(2 * time.Hour)
			_, err := s.Dispatch(s.ctx(), host.DispatchQuery{Plugins: everyPlugin(), Window: 10, Horizon: time.Hour})
			s.check(err)
		},
	}
	for name, way := range ways {
		scan := newScan(t, "p")
		scan.Project = "shop"
		scan = s.accept(scan)
		way(scan)
		got := s.get(scan)
		told := s.messages(w)
		if len(told) != 1 {
			s.Errorf("%s: scan is %s, and told of it %d times", name, got.State, len(told))
			continue
		}
		d := told[0]
		want := host.Delivery{
			ID: d.ID, WebhookID: w.ID, Event: host.WebhookEvent("scan." + got.State), State: host.DeliveryPending, CreatedAt: d.CreatedAt, NextAt: d.CreatedAt,
			Scan: host.ScanEnd{ID: scan.ID, Type: "web", Project: "shop", State: got.State, Counts: got.Counts, CreatedAt: d.Scan.CreatedAt, FinishedAt: got.FinishedAt},
		}
		if diff := cmp.Diff(want, d); diff != "" || d.Scan.CreatedAt.IsZero() || !slices.Contains(host.WebhookEvents(), d.Event) {
			s.Errorf("%s (-want +got):\n%s", name, diff)
		}
		s.check(s.DeleteWebhook(s.ctx(), t, w.ID))
		w = s.hook(newWebhook(t))
	}
}

// testOutboxChosen: a webhook hears of its tenant's scans, of its project and the
// events that it chose, while it is enabled, and of a requeued scan once more.
func testOutboxChosen(s *suite) {
	t, other := s.tenant(), s.tenant()
	all, failures := s.hook(newWebhook(t)), s.hook(newWebhook(t, host.EventScanFailed, host.EventScanTimedOut))
	shop := newWebhook(t)
	shop.Project = "shop"
	shop = s.hook(shop)
	off := false
	disabled, theirs := s.hook(newWebhook(t)), s.hook(newWebhook(other))
	_, err := s.UpdateWebhook(s.ctx(), t, disabled.ID, 0, host.WebhookChange{Enabled: &off})
	s.check(err)
	good, bad := newScan(t, "p"), newScan(t, "p")
	good.Project = "shop"
	good, bad = s.accept(good), s.accept(bad)
	o := end(s.claimAll(bad)[0].Lease, host.StateFailed)
	o.Dead = true
	s.finish(end(s.claimAll(good)[0].Lease, host.StateSucceeded), o)
	heard := func() map[string]int {
		out := map[string]int{}
		for name, w := range map[string]host.Webhook{"all": all, "failures": failures, "shop": shop, "disabled": disabled, "theirs": theirs} {
			if n := len(s.messages(w)); n > 0 {
				out[name] = n
			}
		}
		return out
	}
	if diff := cmp.Diff(map[string]int{"all": 2, "failures": 1, "shop": 1}, heard()); diff != "" {
		s.Errorf("heard (-want +got):\n%s", diff)
	}
	if refused, err := s.Requeue(s.ctx(), jobIDs(bad)); err != nil || len(refused) != 0 {
		s.Fatalf("requeue: %v, %v", refused, err)
	}
	s.finish(end(s.claimAll(bad)[0].Lease, host.StateSucceeded))
	if diff := cmp.Diff(map[string]int{"all": 3, "failures": 1, "shop": 1}, heard()); diff != "" {
		s.Errorf("after a requeue (-want +got):\n%s", diff)
	}
	if d := s.messages(all)[0]; d.Scan.ID != bad.ID || d.Event != host.EventScanSucceeded {
		s.Errorf("the newest is %+v", d)
	}
}

func testDeliveries(s *suite) {
	t := s.tenant()
	w := s.hook(newWebhook(t))
	var ids []host.DeliveryID
	for range 5 {
		d, err := s.TestWebhook(s.ctx(), t, w.ID)
		if err != nil || d.Event != host.EventTest || d.State != host.DeliveryPending || d.Scan != (host.ScanEnd{}) {
			s.Fatalf("test: %+v, %v", d, err)
		}
		s.advance(time.Second)
		ids = append([]host.DeliveryID{d.ID}, ids...)
	}
	var got []host.DeliveryID
	for q := (host.DeliveryQuery{Limit: 2}); ; {
		page, err := s.Deliveries(s.ctx(), t, w.ID, q)
		s.check(err)
		for _, d := range page {
			got = append(got, d.ID)
			q.After = &host.DeliveryCursor{CreatedAt: d.CreatedAt, ID: d.ID}
		}
		if len(page) < 2 {
			break
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		s.Errorf("pages (-want +got):\n%s", diff)
	}
	c := s.takeDelivery()
	s.finishDelivery(host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered, Status: 204, Took: 3 * time.Millisecond})
	for state, n := range map[host.DeliveryState]int{host.DeliveryDelivered: 1, host.DeliveryPending: 4, host.DeliveryFailed: 0} {
		if all, err := s.Deliveries(s.ctx(), t, w.ID, host.DeliveryQuery{State: state}); err != nil || len(all) != n {
			s.Errorf("%s: %d, %v, want %d", state, len(all), err, n)
		}
	}
	if _, err := s.Deliveries(s.ctx(), t, w.ID, host.DeliveryQuery{After: &host.DeliveryCursor{ID: "x"}}); !errors.Is(err, host.ErrInvalid) {
		s.Errorf("a cursor that is none: %v", err)
	}
	// Only what has ended goes by age.
	s.advance(48 * time.Hour)
	if n, err := s.DropDeliveries(s.ctx(), 24*time.Hour, 10); err != nil || n != 1 || len(s.messages(w)) != 4 {
		s.Errorf("dropped %d, %v", n, err)
	}
	stats, err := s.OutboxStats(s.ctx())
	if err != nil || stats.Pending != 4 || !near(stats.Oldest, 48*time.Hour) {
		s.Errorf("stats %+v, %v", stats, err)
	}
}

// testWebhooksHosts: while several hosts claim and finish, each delivery is made
// once, and scans end meanwhile.
func testWebhooksHosts(s *suite) {
	t := s.tenant()
	const scans = 12
	for range 3 {
		s.hook(newWebhook(t))
	}
	made := make(chan string, 100)
	errs := make(chan error, 4)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range scans {
			scan, err := s.Accept(s.ctx(), []host.Scan{newScan(t, "p")}, nil)
			if err == nil {
				_, err = s.Cancel(s.ctx(), t, scan[0].ID)
			}
			if err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	for n := range 3 {
		store := s.h.Another()
		go func() {
			errs <- func() error {
				for last := false; ; {
					select {
					case <-ended:
						last = true
					default:
					}
					out, err := store.ClaimDeliveries(s.ctx(), host.ClaimDeliveries{Owner: fmt.Sprint("host-", n), TTL: time.Minute, Limit: 10})
					if err != nil {
						return err
					}
					for _, c := range out {
						if _, err := store.FinishDelivery(s.ctx(), host.DeliveryOutcome{ID: c.ID, Lease: c.Lease, State: host.DeliveryDelivered}); err != nil {
							return err
						}
						made <- string(c.ID)
					}
					if stats, err := store.OutboxStats(s.ctx()); last && len(out) == 0 && (err != nil || stats.Pending == 0) {
						return err
					}
				}
			}()
		}()
	}
	for range 4 {
		s.check(<-errs)
	}
	close(made)
	seen := map[string]bool{}
	for id := range made {
		if seen[id] {
			s.Errorf("%s was delivered twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 3*scans {
		s.Errorf("%d deliveries, want %d", len(seen), 3*scans)
	}
}
