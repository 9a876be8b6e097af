package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// operator makes an operator's key that the env knows by a name.
func (e *env) operator(t *testing.T, name string, change func(*host.OperatorKey)) {
	t.Helper()
	secret, key := apikey.NewOperator()
	key.Name, e.keys[name] = name, secret
	if change != nil {
		change(&key)
	}
	if err := e.store.CreateOperatorKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if name == "fired" {
		if err := e.store.RevokeOperatorKey(t.Context(), key.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// dead makes n dead letters of alice's, each in a scan of its own.
func (e *env) dead(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		scan := e.upload(t, client.UploadOptions{})
		held := e.claim(t, host.JobID(scan.Jobs[0].ID))
		lost, err := e.store.Finish(t.Context(), []host.Outcome{{Lease: held.Lease, State: host.StateFailed, Dead: true, Crashed: true,
			Error: &host.JobError{Code: host.CodePluginCrashed, Message: "it died", Attempt: 1}}})
		if err != nil || len(lost) != 0 {
			t.Fatalf("finish: %v, %v", lost, err)
		}
		ids = append(ids, scan.Jobs[0].ID)
	}
	return ids
}

func newAdmin(t *testing.T) (*env, *client.Client) {
	t.Helper()
	e := newEnv(t, api.Config{})
	e.operator(t, "ann", nil)
	return e, e.client(t, "ann")
}

// TestAdminWantsAnOperator takes the routes from the document, so that a new one
// cannot be forgotten. Whatever is wrong with a key, the answer is one and the
// same, and nothing is done.
func TestAdminWantsAnOperator(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	e.operator(t, "fired", nil)
	e.operator(t, "expired", func(k *host.OperatorKey) { k.ExpiresAt = time.Now().Add(-time.Minute) })
	unknown, _ := apikey.NewOperator()
	stranger, _ := apikey.New()
	dead := e.dead(t, 1)[0]
	paths := loadDoc(t, e.api).raw["paths"].(map[string]any)
	seen := 0
	for path, item := range paths {
		if !strings.HasPrefix(path, "/admin") {
			continue
		}
		for method, op := range item.(map[string]any) {
			seen++
			if got := fmt.Sprint(op.(map[string]any)["security"]); got != "[map[operatorKey:[]] map[operatorBearer:[]]]" {
				t.Errorf("%s %s is documented with the security %s", method, path, got)
			}
			for name, header := range map[string]http.Header{
				"no key":                    {},
				"no such key":               {"X-Api-Key": {unknown}},
				"revoked":                   {"X-Api-Key": {e.keys["fired"]}},
				"revoked bearer":            {"Authorization": {"Bearer " + e.keys["fired"]}},
				"expired":                   {"X-Api-Key": {e.keys["expired"]}},
				"a tenant's key":            {"X-Api-Key": {e.keys["alice"]}},
				"no tenant's key":           {"X-Api-Key": {stranger}},
				"a tenant's, renamed":       {"X-Api-Key": {"stagop_" + e.keys["alice"][5:]}},
				"a tenant's and an op's":    {"X-Api-Key": {e.keys["alice"]}, "Authorization": {"Bearer " + e.keys["ann"]}},
				"mistyped":                  {"X-Api-Key": {e.keys["ann"][:65] + "!"}},
				"basic":                     {"Authorization": {"Basic " + e.keys["ann"]}},
				"an op's with a capital":    {"X-Api-Key": {strings.ToUpper(e.keys["ann"])}},
				"an op's, as two headers":   {"X-Api-Key": {e.keys["ann"], e.keys["fired"]}},
				"an op's without its start": {"X-Api-Key": {e.keys["ann"][7:]}},
			} {
				req, err := http.NewRequestWithContext(t.Context(), strings.ToUpper(method), e.url+strings.ReplaceAll(path, "{id}", dead), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = header
				resp, body := e.send(t, req)
				want := client.Problem{
					Type: "https://securetag.dev/problems/unauthorized", Title: "Unauthorized", Status: 401, Code: "unauthorized",
					Detail:    "A valid operator key is required, as X-API-Key or as Authorization: Bearer. A tenant's key is none.",
					RequestID: resp.Header.Get("X-Request-Id"),
				}
				if diff := cmp.Diff(want, problem(t, resp, body)); diff != "" || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s with %s (-want +got):\n%s", method, path, name, diff)
				}
			}
		}
	}
	if seen != 27 {
		t.Errorf("%d operations below /admin, want 27", seen)
	}
	stats, err := ann.QueueStats(t.Context())
	if err != nil || stats.Total.DeadLetters != 1 || len(stats.Pauses) != 0 {
		t.Errorf("after all that: %+v, %v", stats, err)
	}
	// And the other way round: an operator is no tenant.
	for path, methods := range routes(t, e) {
		for _, method := range methods {
			resp, body := e.do(t, "ann", method, strings.ReplaceAll(path, "{id}", dead), "", nil)
			if p := problem(t, resp, body); p.Status != http.StatusUnauthorized {
				t.Errorf("%s %s with an operator's key: %+v", method, path, p)
			}
		}
	}
}

func TestQueueStats(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	empty, err := ann.QueueStats(t.Context())
	if diff := cmp.Diff(client.QueueStats{Groups: []client.QueueGroup{}, Pauses: []client.Pause{}}, empty); diff != "" || err != nil {
		t.Errorf("an empty queue, %v (-want +got):\n%s", err, diff)
	}
	e.dead(t, 2)
	e.upload(t, client.UploadOptions{})
	if pauses, err := ann.Pause(t.Context(), "plugin", "secrets", "its rules"); err != nil || len(pauses) != 1 || pauses[0].CreatedAt.IsZero() {
		t.Errorf("pause: %+v, %v", pauses, err)
	}
	got, err := ann.QueueStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Groups) != 1 || got.Groups[0].OldestReadySeconds <= 0 || len(got.Pauses) != 1 {
		t.Fatalf("stats %+v", got)
	}
	got.Groups[0].OldestReadySeconds = 0
	want := client.QueueGroup{Plugin: "secrets", ScanType: "codeaudit", Paused: true, QueueCounts: client.QueueCounts{Ready: 1, DeadLetters: 2}}
	if got.Groups[0] != want || got.Total.DeadLetters != 2 || got.Total.Ready != 1 {
		t.Errorf("stats %+v, want the group %+v", got, want)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	want := e.dead(t, 5)
	var got []string
	for d, err := range ann.AllDeadLetters(t.Context(), client.DeadQuery{Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
	}
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("pages of two: %v, want %v", got, want)
	}
	for q, n := range map[client.DeadFilter]int{
		{Tenant: "alice", Plugin: "secrets", ScanType: "codeaudit"}: 5, {Tenant: "bob"}: 0, {Plugin: "x"}: 0, {ScanType: "web"}: 0,
	} {
		if p, err := ann.DeadLetters(t.Context(), client.DeadQuery{DeadFilter: q}); err != nil || len(p.Items) != n {
			t.Errorf("%+v: %d, %v, want %d", q, len(p.Items), err, n)
		}
	}
	d, err := ann.DeadLetter(t.Context(), want[0])
	if err != nil {
		t.Fatal(err)
	}
	if d.Tenant != "alice" || d.Crashes != 1 || d.Attempt != 1 || d.MaxAttempts != 3 || d.Error == nil || d.Error.Code != "plugin_crashed" ||
		len(d.History) != 1 || d.History[0].Host != "host-a" || d.History[0].State != client.StateFailed || !d.History[0].Crashed {
		t.Errorf("dead letter %+v", d)
	}
	for _, id := range []string{"x", string(host.NewJobID())} {
		var refused *client.Error
		if _, err := ann.DeadLetter(t.Context(), id); !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound ||
			!strings.Contains(refused.Error(), "dead letter") {
			t.Errorf("dead letter %s: %v", id, err)
		}
	}
	page, err := ann.DeadLetters(t.Context(), client.DeadQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	resp, body := e.do(t, "ann", http.MethodGet, "/admin/queue/dead?plugin=other&page_token="+url.QueryEscape(page.NextPageToken), "", nil)
	if p := problem(t, resp, body); p.Status != http.StatusUnprocessableEntity || p.Errors[0].Pointer != "query.page_token" {
		t.Errorf("a token of another filter: %+v", p)
	}
}

func TestRequeueAndDrop(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	ids := e.dead(t, 4)
	unknown := string(host.NewJobID())
	got, err := ann.Requeue(t.Context(), client.Settlement{IDs: []string{ids[0], unknown}})
	want := client.Settled{Done: 1, Refused: []client.Refusal{{ID: unknown, Reason: "not_dead",
		Detail: "it is no dead letter: it was requeued or dropped already, or never was one"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("requeue by id, %v (-want +got):\n%s", err, diff)
	}
	// Two of the three that are left, in two steps.
	f := &client.DeadFilter{Plugin: "secrets"}
	got, err = ann.Drop(t.Context(), client.Settlement{Filter: f, Limit: 1})
	if err != nil || got.Done != 1 || got.NextPageToken == "" {
		t.Fatalf("drop by filter: %+v, %v", got, err)
	}
	got, err = ann.Requeue(t.Context(), client.Settlement{Filter: f, Limit: 1, PageToken: got.NextPageToken})
	if err != nil || got.Done != 1 {
		t.Errorf("and on: %+v, %v", got, err)
	}
	if p, err := ann.DeadLetters(t.Context(), client.DeadQuery{}); err != nil || len(p.Items) != 1 || p.Items[0].ID != ids[1] {
		t.Errorf("left: %+v, %v, want %s", p.Items, err, ids[1])
	}
	// Its tenant sees the requeued one open again.
	scans, err := e.client(t, "alice").Scans(t.Context(), client.ScansQuery{State: client.StateQueued})
	if err != nil || len(scans.Items) != 2 || scans.Items[0].FinishedAt != nil {
		t.Errorf("queued scans: %+v, %v", scans.Items, err)
	}
	if err := os.RemoveAll(e.blobs); err != nil {
		t.Fatal(err)
	}
	got, err = ann.Requeue(t.Context(), client.Settlement{Filter: &client.DeadFilter{}})
	if err != nil || got.Done != 0 || len(got.Refused) != 1 || got.Refused[0].Reason != "archive_gone" {
		t.Errorf("without its archive: %+v, %v", got, err)
	}
	if log := e.log.String(); !strings.Contains(log, `"@message":"requeued dead letters"`) || !strings.Contains(log, `"operator":"`) {
		t.Errorf("the log does not say who did what:\n%s", log)
	}
}

func TestSettlementsRefused(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	ids := e.dead(t, 2)
	page, err := ann.Drop(t.Context(), client.Settlement{Filter: &client.DeadFilter{}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body    string
		status  int
		pointer string
	}{
		"nothing":                {`{}`, 422, "#/"},
		"both":                   {`{"ids":["` + ids[0] + `"],"filter":{}}`, 422, "#/"},
		"no ids":                 {`{"ids":[]}`, 422, "#/"},
		"ids with a limit":       {`{"ids":["` + ids[0] + `"],"limit":5}`, 422, "#/ids"},
		"too many ids":           {`{"ids":[` + strings.Repeat(`"x",`, 1000) + `"x"]}`, 422, "#/ids"},
		"too high a limit":       {`{"filter":{},"limit":1001}`, 422, "#/limit"},
		"unknown member":         {`{"filter":{"state":"x"}}`, 422, "#/filter/state"},
		"a token that is none":   {`{"filter":{},"page_token":"x"}`, 422, "#/page_token"},
		"token of another":       {`{"filter":{"plugin":"x"},"page_token":"` + page.NextPageToken + `"}`, 422, "#/page_token"},
		"no JSON":                {`filter`, 400, ""},
		"no body":                {``, 400, ""},
		"a list in its place":    {`[]`, 422, ""},
		"a filter that is a map": {`{"filter":"all"}`, 422, "#/filter"},
	} {
		for _, verb := range []string{"requeue", "drop"} {
			resp, body := e.do(t, "ann", http.MethodPost, "/admin/queue/dead/"+verb, "application/json", strings.NewReader(c.body))
			p := problem(t, resp, body)
			if p.Status != c.status || c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) {
				t.Errorf("%s, %s: %+v, want %d at %q", verb, name, p, c.status, c.pointer)
			}
		}
	}
	if p, err := ann.DeadLetters(t.Context(), client.DeadQuery{}); err != nil || len(p.Items) != 1 {
		t.Errorf("after all that %d dead letters, %v, want the one", len(p.Items), err)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	if _, err := ann.Pause(t.Context(), "scan_type", "codeaudit", ""); err != nil {
		t.Fatal(err)
	}
	all, err := ann.Pause(t.Context(), "all", "", "upgrade")
	if err != nil || len(all) != 2 || all[0].Kind != "all" || all[0].Reason != "upgrade" || all[1].Name != "codeaudit" {
		t.Errorf("pauses %+v, %v", all, err)
	}
	// Intake goes on.
	e.upload(t, client.UploadOptions{})
	if err := ann.Resume(t.Context(), "scan_type", "codeaudit"); err != nil {
		t.Error(err)
	}
	var refused *client.Error
	if err := ann.Resume(t.Context(), "scan_type", "codeaudit"); !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound ||
		!strings.Contains(refused.Error(), "no such pause") {
		t.Errorf("resumed twice: %v", err)
	}
	if left, err := ann.Pauses(t.Context()); err != nil || len(left) != 1 {
		t.Errorf("left: %+v, %v", left, err)
	}
	for _, body := range []string{`{"kind":"plugin"}`, `{"kind":"all","name":"x"}`, `{"kind":"tenant","name":"x"}`, `{}`,
		`{"kind":"plugin","name":"` + strings.Repeat("x", 201) + `"}`, `{"kind":"plugin","name":"` + strings.Repeat("é", 101) + `"}`} {
		resp, answer := e.do(t, "ann", http.MethodPost, "/admin/queue/pauses", "application/json", strings.NewReader(body))
		if p := problem(t, resp, answer); p.Status != http.StatusUnprocessableEntity || len(p.Errors) == 0 {
			t.Errorf("pause %.40s: %+v", body, p)
		}
	}
	for _, query := range []string{"", "?kind=tenant&name=x", "?kind=all&who=me"} {
		resp, answer := e.do(t, "ann", http.MethodDelete, "/admin/queue/pauses"+query, "", nil)
		if p := problem(t, resp, answer); p.Status != http.StatusUnprocessableEntity {
			t.Errorf("resume %q: %+v", query, p)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	e, ann := newAdmin(t)
	scan := e.upload(t, client.UploadOptions{})
	held := e.claim(t, host.JobID(scan.Jobs[0].ID))
	if d, err := ann.Drain(t.Context()); err != nil || d != (client.Drain{Running: 1}) {
		t.Errorf("before: %+v, %v", d, err)
	}
	if d, err := ann.StartDrain(t.Context()); err != nil || d != (client.Drain{Draining: true, Running: 1}) {
		t.Errorf("begun: %+v, %v", d, err)
	}
	if _, err := e.store.Finish(t.Context(), []host.Outcome{{Lease: held.Lease, State: host.StateSucceeded}}); err != nil {
		t.Fatal(err)
	}
	if d, err := ann.Drain(t.Context()); err != nil || d != (client.Drain{Draining: true, Drained: true}) {
		t.Errorf("when nothing runs: %+v, %v", d, err)
	}
	if err := ann.Resume(t.Context(), "all", ""); err != nil {
		t.Error(err)
	}
	if d, err := ann.Drain(t.Context()); err != nil || d != (client.Drain{}) {
		t.Errorf("undone: %+v, %v", d, err)
	}
}
