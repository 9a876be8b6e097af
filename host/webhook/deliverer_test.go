package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret, oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

// outbox is a store of deliveries in memory, by the synctest clock. It has one
// webhook for each tenant.
type outbox struct {
	mu       sync.Mutex
	rows     []*row
	paused   map[host.WebhookID]time.Time
	disabled map[host.WebhookID]string
	outcomes []host.DeliveryOutcome
	claimErr error
	dropped  int
	released []string
}

type row struct {
	host.DeliveryClaim
	leased bool
}

func (o *outbox) ClaimDeliveries(_ context.Context, q host.ClaimDeliveries) (out []host.DeliveryClaim, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.claimErr != nil {
		return nil, o.claimErr
	}
	tenants := slices.Clone(q.WithoutTenants)
	for _, r := range o.rows {
		now := time.Now()
		if r.State != host.DeliveryPending || r.NextAt.After(now) || len(out) == q.Limit || o.disabled[r.WebhookID] != "" || o.paused[r.WebhookID].After(now) ||
			slices.Contains(q.WithoutWebhooks, r.WebhookID) || slices.Contains(tenants, r.Webhook.TenantID) {
			continue
		}
		tenants = append(tenants, r.Webhook.TenantID)
		r.Attempts++
		r.NextAt, r.leased, r.Lease = now.Add(q.TTL), true, fmt.Sprint(r.Attempts)
		out = append(out, r.DeliveryClaim)
	}
	return out, nil
}

func (o *outbox) FinishDelivery(ctx context.Context, d host.DeliveryOutcome) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	o.outcomes = append(o.outcomes, d)
	for _, r := range o.rows {
		if r.ID != d.ID || r.Lease != d.Lease || !r.leased {
			continue
		}
		r.State, r.NextAt, r.leased = d.State, time.Now().Add(d.Retry), false
		if d.Release {
			r.Attempts--
		}
		if d.Pause > 0 {
			o.paused[r.WebhookID] = time.Now().Add(d.Pause)
		}
		o.disabled[r.WebhookID] = d.Disable
		return d.Disable != "", nil
	}
	return false, host.ErrLeaseLost
}

func (o *outbox) ReleaseDeliveries(_ context.Context, owner string) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.released = append(o.released, owner)
	return 0, nil
}

func (o *outbox) DropDeliveries(_ context.Context, age time.Duration, limit int) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if age != 30*24*time.Hour {
		return 0, fmt.Errorf("age %v", age)
	}
	n := min(o.dropped, limit)
	o.dropped -= n
	return n, nil
}

func (o *outbox) OutboxStats(context.Context) (host.OutboxStats, error) {
	return host.OutboxStats{}, nil
}

// add puts a delivery for a tenant's webhook.
func (o *outbox) add(tenant string, change ...func(*host.Webhook)) *row {
	r := &row{DeliveryClaim: host.DeliveryClaim{
		Delivery: host.Delivery{
			ID: host.NewDeliveryID(), WebhookID: host.WebhookID("hook of " + tenant), Event: host.EventScanFailed, State: host.DeliveryPending,
			CreatedAt: time.Now(), NextAt: time.Now(),
			Scan: host.ScanEnd{ID: "01a20a02-7914-7be9-bd21-46768b2e29c6", Type: "web", State: host.StateFailed, Counts: host.Counts{High: 2}, CreatedAt: time.Now(), FinishedAt: time.Now()},
		},
		Webhook: host.Webhook{TenantID: host.TenantID(tenant), URL: "https://" + tenant + ".example.com/hook", Secret: secret},
	}}
	for _, f := range change {
		f(&r.Webhook)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rows = append(o.rows, r)
	return r
}

func (o *outbox) look(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// receivers answers instead of servers.
type receivers func(*http.Request) (*http.Response, error)

func (f receivers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header ...string) (*http.Response, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("thanks"))}, nil
}

// hang answers when the request is given up.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

type tried struct {
	host.NoMeter
	mu  sync.Mutex
	all map[host.DeliveryState]int
}

func (m *tried) WebhookTried(s host.DeliveryState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[s]++
}

// run delivers within a bubble until the test calls stop.
func run(t *testing.T, to receivers, change ...func(*webhook.Config)) (o *outbox, meter *tried, stop func()) {
	t.Helper()
	o = &outbox{paused: map[host.WebhookID]time.Time{}, disabled: map[host.WebhookID]string{}}
	meter = &tried{all: map[host.DeliveryState]int{}}
	cfg := webhook.Config{Owner: "host-a", Meter: meter}
	for _, f := range change {
		f(&cfg)
	}
	d, err := webhook.New(o, to, cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	return o, meter, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []*http.Request
		var bodies []string
		o, meter, stop := run(t, func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			got, bodies = append(got, r), append(bodies, string(body))
			if err != nil {
				t.Error(err)
			}
			return answer(204)
		})
		r := o.add("acme", func(w *host.Webhook) { w.OldSecret = oldSecret })
		time.Sleep(10 * time.Second)
		stop()
		if len(got) != 1 || r.State != host.DeliveryDelivered || meter.all[host.DeliveryDelivered] != 1 || !slices.Equal(o.released, []string{"host-a"}) {
			t.Fatalf("%d requests, row %+v, meter %v, released %v", len(got), r, meter.all, o.released)
		}
		req, body := got[0], bodies[0]
		if req.Method != http.MethodPost || req.URL.String() != "https://acme.example.com/hook" || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("Webhook-Id") != string(r.ID) {
			t.Errorf("request %s %s with %v", req.Method, req.URL, req.Header)
		}
		for _, s := range []string{secret, oldSecret} {
			w, err := standardwebhooks.NewWebhook(s)
			if err != nil || w.VerifyIgnoringTimestamp([]byte(body), req.Header) != nil {
				t.Errorf("signature %q is not of %s: %v", req.Header.Get("Webhook-Signature"), s, err)
			}
		}
		const at = "2000-01-01T00:00:00Z"
		want := `{"type":"scan.failed","timestamp":"` + at + `","data":{"id":"01a20a02-7914-7be9-bd21-46768b2e29c6","type":"web","state":"failed",` +
			`"counts":{"critical":0,"high":2,"medium":0,"low":0,"info":0,"unknown":0},"created_at":"` + at + `","finished_at":"` + at + `"}}`
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
}

// TestVector is the example of the specification.
func TestVector(t *testing.T) {
	t.Parallel()
	w, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("signature %s, %v, want %s", got, err, want)
	}
}

// TestSchedule: a message that always fails is tried ten times, at the times of
// the standard, and then given up.
func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		ids, began := map[string]bool{}, time.Now()
		o, meter, stop := run(t, func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(began))
			ids[r.Header.Get("Webhook-Id")] = true
			return answer(500)
		}, func(c *webhook.Config) { c.Poll = 20 * time.Second })
		r := o.add("acme")
		time.Sleep(100 * time.Hour)
		stop()
		const h = time.Hour
		want := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h}
		if len(at) != len(want) || len(ids) != 1 || r.State != host.DeliveryFailed {
			t.Fatalf("tried at %v with ids %v, row %+v", at, ids, r)
		}
		for i := range at {
			pause := at[i]
			if i > 0 {
				pause -= at[i-1]
			}
			if pause < want[i] || pause > want[i]+want[i]/10+30*time.Second {
				t.Errorf("pause %d is %v, want %v and a tenth at most", i, pause, want[i])
			}
		}
		if diff := cmp.Diff(map[host.DeliveryState]int{host.DeliveryPending: 9, host.DeliveryFailed: 1}, meter.all); diff != "" {
			t.Errorf("meter (-want +got):\n%s", diff)
		}
		if o := o.outcomes[0]; o.DisableAfter != 5*24*time.Hour || o.Status != 500 || o.Error != "the receiver answered 500" {
			t.Errorf("outcome %+v", o)
		}
	})
}

// TestAnswers: what each answer does to the delivery and its webhook.
func TestAnswers(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf(`"x" is refused: %w`, host.ErrInvalid)
	for name, tt := range map[string]struct {
		to    receivers
		state host.DeliveryState
		text  string
		pause time.Duration
		retry time.Duration // at least
		gone  bool
	}{
		"redirect":           {func(*http.Request) (*http.Response, error) { return answer(302, "Location", "http://169.254.169.254/") }, host.DeliveryPending, "a redirect, which is not followed", 0, 5 * time.Second, false},
		"gone":               {func(*http.Request) (*http.Response, error) { return answer(410) }, host.DeliveryFailed, "answered 410", 0, 0, true},
		"slow down":          {func(*http.Request) (*http.Response, error) { return answer(429) }, host.DeliveryPending, "answered 429", time.Minute, 5 * time.Second, false},
		"slow down for long": {func(*http.Request) (*http.Response, error) { return answer(503, "Retry-After", "600") }, host.DeliveryPending, "answered 503", 10 * time.Minute, 10 * time.Minute, false},
		"slow down for ever": {func(*http.Request) (*http.Response, error) { return answer(429, "Retry-After", "999999999") }, host.DeliveryPending, "answered 429", time.Hour, time.Hour, false},
		"slow down until": {func(*http.Request) (*http.Response, error) {
			return answer(502, "Retry-After", time.Now().UTC().Add(30*time.Minute).Format(http.TimeFormat))
		}, host.DeliveryPending, "502", 29 * time.Minute, 29 * time.Minute, false},
		"nonsense":       {func(*http.Request) (*http.Response, error) { return answer(504, "Retry-After", "-soon") }, host.DeliveryPending, "504", time.Minute, 0, false},
		"hangs":          {hang, host.DeliveryPending, "no answer within 15s", time.Minute, 5 * time.Second, false},
		"address inside": {func(*http.Request) (*http.Response, error) { return nil, refused }, host.DeliveryPending, `"x" is refused`, 0, 5 * time.Second, false},
		"name does not exist": {func(*http.Request) (*http.Response, error) {
			return nil, &net.DNSError{IsNotFound: true, Server: "10.0.0.53:53"}
		}, host.DeliveryPending, "does not resolve", 0, 0, false},
		"name server is down": {func(*http.Request) (*http.Response, error) { return nil, &net.DNSError{Server: "10.0.0.53:53"} }, host.DeliveryPending, "cannot be resolved at present", 0, 0, false},
		"anything else":       {func(*http.Request) (*http.Response, error) { return nil, errors.New("read 10.0.0.1: reset") }, host.DeliveryPending, "the connection to the receiver broke", 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o, _, stop := run(t, tt.to)
				o.add("acme")
				time.Sleep(20 * time.Second)
				stop()
				if len(o.outcomes) == 0 {
					t.Fatal("nothing was tried")
				}
				got := o.outcomes[0]
				if got.State != tt.state || !strings.Contains(got.Error, tt.text) || strings.Contains(got.Error, "10.0.0") || got.Pause < tt.pause || got.Pause > tt.pause+time.Minute ||
					got.Retry < tt.retry || (got.Disable != "") != tt.gone {
					t.Errorf("outcome %+v", got)
				}
			})
		})
	}
}

// TestEndlessAnswer: the status is the answer, however much follows.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, _, stop := run(t, func(r *http.Request) (*http.Response, error) {
			resp, err := answer(200)
			pr, pw := io.Pipe()
			context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
			resp.Body = pr // nothing ever comes
			return resp, err
		})
		r := o.add("acme")
		time.Sleep(3 * time.Second)
		o.look(func() {
			if r.State != host.DeliveryDelivered {
				t.Errorf("row %+v", r)
			}
		})
		stop()
	})
}

// TestFair: a tenant whose receivers hang, with a long backlog, keeps nobody
// waiting, and no more of its deliveries are under way than its share.
func TestFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, prompt := map[string]int{}, map[string]int{}, 0
		o, _, stop := run(t, func(r *http.Request) (*http.Response, error) {
			name, _, _ := strings.Cut(r.URL.Hostname(), ".")
			mu.Lock()
			now[name]++
			most[name] = max(most[name], now[name])
			mu.Unlock()
			var resp *http.Response
			var err error
			if name == "hanging" {
				resp, err = hang(r)
			} else {
				resp, err = answer(200)
			}
			mu.Lock()
			defer mu.Unlock()
			now[name]--
			if err == nil {
				prompt++
			}
			return resp, err
		}, func(c *webhook.Config) { c.Slots, c.PerTenant, c.PerWebhook = 4, 3, 2 })
		for range 100 {
			o.add("hanging")
		}
		for range 20 {
			o.add("prompt")
		}
		time.Sleep(5 * time.Second) // none of the others has ended by then
		mu.Lock()
		if prompt != 20 || most["hanging"] != 2 || now["hanging"] != 2 {
			t.Errorf("%d of the prompt ones came, at most %v under way, now %v", prompt, most, now)
		}
		mu.Unlock()
		stop()
		given := 0
		for _, d := range o.outcomes {
			if d.Release {
				given++
			}
		}
		if given != 2 {
			t.Errorf("%d were given back, want those under way: %+v", given, o.outcomes)
		}
	})
}

// TestOutage: while the store does not answer nothing ends, and all goes on when
// it is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, meter, stop := run(t, func(*http.Request) (*http.Response, error) { return answer(200) })
		o.look(func() { o.claimErr, o.dropped = host.ErrUnavailable, 2500 })
		o.add("acme")
		time.Sleep(time.Minute)
		o.look(func() { o.claimErr = nil })
		time.Sleep(2 * time.Hour)
		stop()
		if meter.all[host.DeliveryDelivered] != 1 || o.dropped != 0 {
			t.Errorf("meter %v, %d old ones left", meter.all, o.dropped)
		}
	})
}

// TestBadRow: a secret that is none ends a delivery at once.
func TestBadRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, _, stop := run(t, func(*http.Request) (*http.Response, error) { t.Error("sent"); return answer(200) })
		bad := o.add("acme", func(w *host.Webhook) { w.Secret = "whsec_!" })
		worse := o.add("other", func(w *host.Webhook) { w.URL = "http://[::1" })
		time.Sleep(5 * time.Second)
		stop()
		if bad.State != host.DeliveryFailed || worse.State != host.DeliveryFailed {
			t.Errorf("rows %+v, %+v", bad, worse)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]webhook.Config{
		"no owner": {}, "a short lease": {Owner: "o", Timeout: time.Minute}, "negative": {Owner: "o", Slots: -1}, "negative time": {Owner: "o", Poll: -1},
	} {
		if _, err := webhook.New(&outbox{}, nil, cfg, hclog.NewNullLogger()); !errors.Is(err, host.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
