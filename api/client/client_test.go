package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
)

// sleeper notes how long it was asked to wait, and does not.
type sleeper struct {
	slept []time.Duration
	err   error
}

func (s *sleeper) sleep(_ context.Context, d time.Duration) error {
	s.slept = append(s.slept, d)
	return s.err
}

func serve(t *testing.T, opts client.Options, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	opts.HTTPClient = srv.Client()
	c, err := client.New(srv.URL+"/base/", "the-key", opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if status >= 400 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "example.com", "ftp://example.com", "http://", "http://u:p@example.com", "http://a?b", "http://a#b", "http://%zz"} {
		_, err := client.New(u, "", client.Options{})
		if err == nil {
			t.Errorf("New(%q) took it", u)
		} else if strings.Contains(err.Error(), ":p@") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got []string
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		if r.Header.Get("Authorization") != "Bearer the-key" || r.Header.Get("User-Agent") != "securetag-client" {
			t.Errorf("headers %v", r.Header)
		}
		answer(w, http.StatusOK, map[string]any{"id": "x"})
	})
	ctx := t.Context()
	_, err1 := c.Scan(ctx, "a/../b")
	_, err2 := c.Scans(ctx, client.ScansQuery{Type: "web", State: client.StateQueued, Limit: 3})
	_, err3 := c.Findings(ctx, "x", client.FindingsQuery{Severity: "high", PageToken: "t"})
	_, err4 := c.Cancel(ctx, "x")
	_, err5 := c.StartURL(ctx, "https://e.com", client.StartOptions{Options: []byte(`{"a":1}`)})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /base/scans/a%2F..%2Fb ",
		"GET /base/scans?limit=3&state=queued&type=web ",
		"GET /base/scans/x/findings?page_token=t&severity=high ",
		"POST /base/scans/x/cancel ",
		`POST /base/scans/web {"url":"https://e.com","options":{"a":1}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	problem := client.Problem{
		Type: "https://x/problems/invalid", Title: "Invalid request", Status: 422, Code: "invalid", Detail: "No.", RequestID: "r1",
		Errors: []client.ProblemError{{Pointer: "#/url", Detail: "Must be a URL."}},
	}
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		answer(w, 422, problem)
	})
	_, err := c.Scan(t.Context(), "x")
	var refused *client.Error
	if !errors.As(err, &refused) {
		t.Fatalf("err = %v", err)
	}
	if diff := cmp.Diff(&client.Error{Problem: problem, StatusCode: 422, RetryAfter: 7 * time.Second}, refused); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if want := "Invalid request (422): No.; #/url: Must be a URL. [request r1]"; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
	c = serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>", http.StatusForbidden)
	})
	if _, err = c.Scan(t.Context(), "x"); !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden || refused.Title != "Forbidden" {
		t.Errorf("a proxy's answer: %v", err)
	}
	c = serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	})
	if _, err = c.Scan(t.Context(), "x"); !errors.As(err, &refused) || refused.StatusCode != http.StatusFound {
		t.Errorf("a redirect: %v, want it not followed", err)
	}
	var network *client.NetworkError
	c = serve(t, client.Options{Retries: -1}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	if _, err = c.Scan(t.Context(), "x"); !errors.As(err, &network) {
		t.Errorf("a success that is no JSON: %v", err)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []int // then 200
		calls   int
		fails   bool
	}{
		"recovers":        {[]int{503, 500, 502}, 4, false},
		"broken network":  {[]int{0, 0}, 3, false},
		"gives up":        {[]int{503, 503, 503, 503, 503, 503}, 5, true},
		"not implemented": {[]int{501}, 1, true},
		"refused":         {[]int{404}, 1, true},
		"too many":        {[]int{429}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var served atomic.Int32
			s := &sleeper{}
			cl := serve(t, client.Options{SleepFunc: s.sleep}, func(w http.ResponseWriter, _ *http.Request) {
				calls := int(served.Add(1))
				switch {
				case calls > len(c.answers):
					answer(w, 200, client.Scan{ID: "x"})
				case c.answers[calls-1] == 0:
					panic(http.ErrAbortHandler)
				default:
					w.Header().Set("Retry-After", "9")
					answer(w, c.answers[calls-1], client.Problem{Title: "No"})
				}
			})
			_, err := cl.Scan(t.Context(), "x")
			calls := int(served.Load())
			if (err != nil) != c.fails || calls != c.calls || len(s.slept) != calls-1 {
				t.Errorf("err %v after %d calls and %d pauses, want %d calls", err, calls, len(s.slept), c.calls)
			}
			for _, d := range s.slept {
				if want := 9 * time.Second; c.answers[0] != 0 && d != want {
					t.Errorf("paused %s, the host asked for %s", d, want)
				}
			}
		})
	}
}

// TestWhatIsTriedAgain: a scan is asked for again by the same key when its
// archive can be read again, and nothing else that changes something is.
func TestWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	archive := func() io.Reader {
		r := strings.NewReader("skipped PK")
		_, _ = r.Seek(8, io.SeekStart)
		return r
	}
	for name, c := range map[string]struct {
		send  func(context.Context, *client.Client) error
		calls int
		key   string // as it is sent; "*": some key
	}{
		"start": {func(ctx context.Context, c *client.Client) error {
			_, err := c.StartURL(ctx, "https://e.com", client.StartOptions{})
			return err
		}, 5, "*"},
		"start by a key": {func(ctx context.Context, c *client.Client) error {
			_, err := c.StartURL(ctx, "https://e.com", client.StartOptions{Key: "k"})
			return err
		}, 5, `"k"`},
		"upload": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Upload(ctx, archive(), client.UploadOptions{})
			return err
		}, 5, "*"},
		"upload of a stream": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Upload(ctx, io.MultiReader(archive()), client.UploadOptions{Key: "k"})
			return err
		}, 1, `"k"`},
		"cancel": {func(ctx context.Context, c *client.Client) error { _, err := c.Cancel(ctx, "x"); return err }, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var keys []string
			host := serve(t, client.Options{SleepFunc: (&sleeper{}).sleep}, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if upload := strings.HasSuffix(r.URL.Path, "/upload"); err != nil || upload && !bytes.Contains(body, []byte("\r\n\r\nPK\r\n")) {
					t.Errorf("body %q, %v", body, err)
				}
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				answer(w, 503, client.Problem{Title: "No"})
			})
			if err := c.send(t.Context(), host); err == nil || len(keys) != c.calls {
				t.Errorf("%d requests, want %d; %v", len(keys), c.calls, err)
			}
			for _, key := range keys {
				if key != keys[0] || c.key != "*" && key != c.key || c.key == "*" && len(key) < 20 {
					t.Errorf("keys %q, want %q each time", keys, c.key)
				}
			}
		})
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	states := []client.State{client.StateQueued, client.StateRunning, client.StateRunning, client.StateSucceeded}
	calls, s := 0, &sleeper{}
	c := serve(t, client.Options{SleepFunc: s.sleep}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			http.NotFound(w, r) // a host that has none
			return
		}
		if calls == 1 {
			w.Header().Set("Retry-After", "3")
		}
		answer(w, 200, client.Scan{ID: "x", State: states[calls]})
		calls++
	})
	var seen []client.State
	got, err := c.Wait(t.Context(), "x", func(s client.Scan) { seen = append(seen, s.State) })
	if err != nil || got.State != client.StateSucceeded {
		t.Fatalf("Wait = %+v, %v", got, err)
	}
	if diff := cmp.Diff(states, seen); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if len(s.slept) != 3 || s.slept[1] != 3*time.Second || s.slept[0] > 250*time.Millisecond || s.slept[2] > time.Second {
		t.Errorf("pauses %v; want growing ones, and 3 s where the host asked for it", s.slept)
	}
	calls, s.err = 0, context.DeadlineExceeded
	if got, err = c.Wait(t.Context(), "x", nil); !errors.Is(err, context.DeadlineExceeded) || got.State != client.StateQueued {
		t.Errorf("Wait out of time = %+v, %v; want what it knew", got, err)
	}
}

func TestWaitIgnoresRetryAfter(t *testing.T) {
	t.Parallel()
	calls, s := 0, &sleeper{}
	c := serve(t, client.Options{SleepFunc: s.sleep, IgnoreRetryAfter: true, MinWait: time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			answer(w, 200, client.Scan{ID: "x", State: client.StateSucceeded}) // no stream, so not to be believed
			return
		}
		w.Header().Set("Retry-After", "60")
		state := client.StateRunning
		if calls++; calls == 3 {
			state = client.StateSucceeded
		}
		answer(w, 200, client.Scan{ID: "x", State: state})
	})
	if _, err := c.Wait(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.slept {
		if d > time.Second {
			t.Errorf("paused %v though Retry-After is to be ignored", d)
		}
	}
}

func TestAllStops(t *testing.T) {
	t.Parallel()
	calls := 0
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		calls++
		answer(w, 200, client.Page[client.Finding]{Items: []client.Finding{{ID: "a"}}, NextPageToken: "same"})
	})
	var errs []error
	for _, err := range c.AllFindings(t.Context(), "x", client.FindingsQuery{}) {
		errs = append(errs, err)
	}
	if calls != 2 || len(errs) != 3 || errs[2] == nil {
		t.Errorf("a host that repeats its page: %d calls, %v", calls, errs)
	}
	for _, err := range c.AllScans(t.Context(), client.ScansQuery{}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if calls != 3 {
		t.Errorf("%d calls after a loop that was left at once", calls-2)
	}
}

func TestUploadStreams(t *testing.T) {
	t.Parallel()
	c := serve(t, client.Options{}, func(w http.ResponseWriter, r *http.Request) {
		mr, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		var parts []string
		for {
			p, err := mr.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			parts = append(parts, p.FormName()+"/"+p.FileName()+"/"+string(b))
		}
		want := []string{"project//shop", `options//{"a":1}`, "file/a \"b\".zip/content"}
		if diff := cmp.Diff(want, parts); diff != "" || r.URL.Path != "/base/sast/upload" || r.ContentLength < 1 {
			t.Errorf("%s, length %d, parts (-want +got):\n%s", r.URL.Path, r.ContentLength, diff)
		}
		answer(w, http.StatusAccepted, client.Scan{ID: "x"})
	})
	s, err := c.Upload(t.Context(), strings.NewReader("content"), client.UploadOptions{
		Type: "sast", Filename: `a "b".zip`, Project: "shop", Options: []byte(`{"a":1}`), Size: 7,
	})
	if err != nil || s.ID != "x" {
		t.Errorf("Upload = %+v, %v", s, err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestUploadOfBrokenReader(t *testing.T) {
	t.Parallel()
	c := serve(t, client.Options{}, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	broken := errors.New("disk on fire")
	if _, err := c.Upload(t.Context(), brokenReader{broken}, client.UploadOptions{}); !errors.Is(err, broken) {
		t.Errorf("Upload = %v, want the reader's own error", err)
	}
}

// untouchable fails the test that reads it.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the archive was read")
	return 0, io.EOF
}

// TestUploadAsksFirst: the host refuses before anything of the archive is sent.
// That the answer also arrives half-way is tested with the real host in api.
func TestUploadAsksFirst(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusRequestEntityTooLarge, client.Problem{Title: "Too large", Code: "archive_too_large"})
	}))
	t.Cleanup(srv.Close)
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(srv.URL, "", client.Options{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Upload(t.Context(), untouchable{t}, client.UploadOptions{})
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != "archive_too_large" {
		t.Errorf("Upload = %v, want the host's 413", err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(nil)
	srv.Close()
	s := &sleeper{}
	c, err := client.New(srv.URL, "", client.Options{SleepFunc: s.sleep})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Scan(t.Context(), "x")
	var network *client.NetworkError
	if !errors.As(err, &network) || network.Op != "GET /scans/x" || len(s.slept) != 4 {
		t.Errorf("%v after %d pauses, want a NetworkError after 4", err, len(s.slept))
	}
	_, err = c.Upload(t.Context(), strings.NewReader("x"), client.UploadOptions{})
	if !errors.As(err, &network) {
		t.Errorf("Upload: %v, want a NetworkError", err)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	status := 200
	c := serve(t, client.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, status, client.Readiness{Status: client.Degraded})
	})
	if r, err := c.Readiness(t.Context()); err != nil || r.Status != client.Degraded {
		t.Errorf("Readiness = %+v, %v", r, err)
	}
	status = 503
	if r, err := c.Readiness(t.Context()); err != nil || r.Status != client.Unavailable {
		t.Errorf("Readiness = %+v, %v", r, err)
	}
}
