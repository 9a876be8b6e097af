package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
	"github.com/securetaghq/securetag/host/blob/dirblob"
	"github.com/securetaghq/securetag/host/control"
	"github.com/securetaghq/securetag/host/intake"
	"github.com/securetaghq/securetag/host/permission"
	"github.com/securetaghq/securetag/host/sqlite"
	"github.com/securetaghq/securetag/host/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store that can be told to fail.
type faulty struct {
	host.Store
	mu        sync.Mutex
	scanErr   error // of Scan
	failAfter int   // how often Scan answers before that
	keyErr    error // of UseKey
	pingErr   error
	panics    bool // Scan panics
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Scan(ctx context.Context, t host.TenantID, id host.ScanID) (host.Scan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("out of cheese")
	}
	if f.failAfter--; f.scanErr != nil && f.failAfter < 0 {
		return host.Scan{}, f.scanErr
	}
	return f.Store.Scan(ctx, t, id)
}

func (f *faulty) UseKey(ctx context.Context, hash [32]byte) (host.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keyErr != nil {
		return host.Key{}, f.keyErr
	}
	return f.Store.UseKey(ctx, hash)
}

func (f *faulty) Ping(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pingErr
}

type queue struct{ err error }

func (q *queue) Ping(context.Context) error { return q.err }

// lockedBuffer is a log that handlers write at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const maxArchive = 1 << 20

// env is a host's API on a real listener.
type env struct {
	api   *api.API
	deps  api.Deps
	url   string
	http  *http.Client // validates every answer against /openapi.json
	store *faulty
	queue *queue
	log   *lockedBuffer
	meter answers
	blobs string // directory
	keys  map[string]string
	// tenants are those of the keys.
	tenants map[string]host.TenantID
	plugins plugins
	zone    zone
	config  configuration
	// canceled are the scans whose cancel was passed on.
	canceled chan host.Scan
}

func newEnv(t testing.TB, cfg api.Config) *env { return newEnvMax(t, cfg, maxArchive) }

func newEnvMax(t testing.TB, cfg api.Config, maxArchive int64, change ...func(*api.Deps)) *env {
	return newEnvPlan(t, cfg, maxArchive, host.Plan{}, change...)
}

func newEnvPlan(t testing.TB, cfg api.Config, maxArchive int64, plan host.Plan, change ...func(*api.Deps)) *env {
	t.Helper()
	e := &env{
		store: &faulty{Store: newStore(t)}, queue: &queue{}, log: &lockedBuffer{}, meter: answers{heard: make(chan answer, 1000)},
		blobs: t.TempDir(), keys: map[string]string{}, tenants: map[string]host.TenantID{},
		canceled: make(chan host.Scan, 100),
	}
	log := hclog.New(&hclog.LoggerOptions{Output: e.log, Level: hclog.Debug, JSONFormat: true})
	blobs, err := dirblob.New(e.blobs)
	if err != nil {
		t.Fatal(err)
	}
	types := []intake.ScanType{
		{Name: "codeaudit", Input: host.InputArchive, Plugins: []string{"secrets"}, Timeout: time.Hour, Attempts: 3},
		{Name: "web", Input: host.InputURL, Timeout: time.Hour, Attempts: 1},
		{Name: "import", Input: host.InputArchive, Plugins: []string{"import"}, Timeout: time.Hour, Attempts: 1},
		{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1},
		{Name: "deep", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1, Options: json.RawMessage(ownOptions)},
		{Name: "packed", Input: host.InputArchive, Plugins: []string{"secrets"}, Timeout: time.Minute, Attempts: 1, Options: json.RawMessage(ownOptions)},
	}
	in, err := intake.New(e.store, blobs, checkZip, types, func() {}, intake.Config{
		MaxArchive: maxArchive, Inline: -1, Sealer: secretKeys(t), SecretOptions: secretOptions,
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	deps := api.Deps{
		Store: e.store, Queue: e.queue, Intake: in, Log: log, Meter: e.meter, Control: control.Queue{Store: e.store, Blobs: blobs}, Blobs: blobs,
		Plugins: &e.plugins, Configuration: &e.config,
		Plans:    host.FixedPlan(plan),
		Canceled: func(s host.Scan) { e.canceled <- s },
	}
	deps.Targets = permission.New(e.store, deps.Plans, &e.zone, &e.zone, permission.Config{Pause: time.Nanosecond}, log)
	for _, f := range change {
		f(&deps)
	}
	e.deps = deps
	if e.api, err = api.New(deps, cfg); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = api.Server(e.api, log)
	srv.Start()
	e.url = srv.URL
	transport := &http.Transport{}
	e.http = &http.Client{Transport: &validating{t: t, base: transport, doc: loadDoc(t, e.api)}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
		blobs.Close()
	})
	for _, name := range []string{"alice", "bob", "revoked"} {
		tenant := host.Tenant{ID: host.NewTenantID(), Name: name}
		if err := e.store.CreateTenant(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
		secret, key := apikey.New()
		key.TenantID, key.Name, key.Scopes = tenant.ID, "test", host.AllScopes()
		e.keys[name], e.tenants[name] = secret, tenant.ID
		if err := e.store.CreateKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if name == "revoked" {
			if err := e.store.RevokeKey(t.Context(), key.TenantID, key.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	return e
}

func newStore(t testing.TB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: sqlitetest.File(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// claim hands out one job, and no other, and claims it.
func (e *env) claim(t testing.TB, job host.JobID) host.Claim {
	t.Helper()
	out, err := e.store.Dispatch(t.Context(), host.DispatchQuery{Plugins: []string{"secrets", "probe", "import"}, Window: 1000, Horizon: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var others []host.JobID
	for _, b := range out.Bells {
		if b.Job != job {
			others = append(others, b.Job)
		}
	}
	if err := e.store.Undispatch(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	claims, err := e.store.Claim(t.Context(), "host-a", []host.JobID{job}, time.Minute)
	if err != nil || len(claims) != 1 {
		t.Fatalf("claim job %s: %+v, %v", job, claims, err)
	}
	return claims[0]
}

// finish ends a scan as a dispatcher would.
func (e *env) finish(t testing.TB, id string, findings []host.Finding, artifacts ...host.Artifact) {
	t.Helper()
	scan, err := e.store.Scan(t.Context(), e.tenants["alice"], host.ScanID(id))
	if err != nil {
		t.Fatal(err)
	}
	if len(scan.Jobs) != 1 {
		t.Fatalf("scan %s has %d jobs", id, len(scan.Jobs))
	}
	lost, err := e.store.Finish(t.Context(), []host.Outcome{{
		Lease: e.claim(t, scan.Jobs[0].ID).Lease, State: host.StateSucceeded, Findings: findings, Artifacts: artifacts,
		Progress: host.Progress{Phase: "matching", Done: 3, Total: 3, Unit: "files"},
	}})
	if err != nil || len(lost) > 0 {
		t.Fatalf("finish the job of scan %s: lost %v, %v", id, lost, err)
	}
}

// checkZip takes what begins as a zip does.
func checkZip(_ context.Context, r io.ReaderAt, _, _ int64) (intake.Summary, error) {
	head := make([]byte, 2)
	if _, err := r.ReadAt(head, 0); err != nil || string(head) != "PK" {
		return intake.Summary{}, intake.RefuseArchive("not_an_archive", "", "The first bytes are of no known format.", host.ErrInvalid)
	}
	return intake.Summary{Format: "zip", Files: 3, UnpackedBytes: 99, Dropped: 1}, nil
}

func (e *env) client(t testing.TB, who string) *client.Client {
	t.Helper()
	c, err := client.New(e.url, e.keys[who], client.Options{HTTPClient: e.http, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// upload makes a scan of alice's.
func (e *env) upload(t testing.TB, opts client.UploadOptions) client.Scan {
	t.Helper()
	s, err := e.client(t, "alice").Upload(t.Context(), strings.NewReader("PK"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored counts the blobs, finished or not.
func (e *env) stored(t testing.TB) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(e.blobs, func(_ string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // a temporary file that was just removed
			return nil
		}
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// do sends a request as who ("" for nobody) and returns the answer with its
// body read.
func (e *env) do(t testing.TB, who, method, path, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if who != "" {
		req.Header.Set("X-API-Key", e.keys[who])
	}
	return e.send(t, req)
}

func (e *env) send(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := e.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// problem reads a problem and checks what all of them share.
func problem(t testing.TB, resp *http.Response, body string) client.Problem {
	t.Helper()
	var p client.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("status %d is no problem document: %v: %.200s", resp.StatusCode, err, body)
	}
	if resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode ||
		p.Type != "https://securetag.dev/problems/"+p.Code || p.Title == "" || p.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("status %d, content type %q, problem %+v", resp.StatusCode, resp.Header.Get("Content-Type"), p)
	}
	return p
}

// find gives the schema of an answer: of the operation that the path belongs
// to, or of a problem where there is none.
func (d *openAPI) find(method, path string, status int, contentType string) (string, error) {
	template := ""
	for candidate := range d.raw["paths"].(map[string]any) {
		if candidate == path {
			template = candidate
			break
		}
		a, b := strings.Split(candidate, "/"), strings.Split(path, "/")
		same := len(a) == len(b)
		for i := 0; same && i < len(a); i++ {
			same = a[i] == b[i] || strings.HasPrefix(a[i], "{")
		}
		if same {
			template = candidate
		}
	}
	item, _ := d.raw["paths"].(map[string]any)[template].(map[string]any)
	op, _ := item[strings.ToLower(method)].(map[string]any)
	if op == nil {
		return "#/components/schemas/Problem", nil
	}
	responses := op["responses"].(map[string]any)
	key := fmt.Sprint(status)
	if responses[key] == nil {
		return "", fmt.Errorf("%s %s: status %d is not documented: name it in Errors of the operation, or in document.go where it is of many", method, template, status)
	}
	if ref, ok := responses[key].(map[string]any)["$ref"].(string); ok {
		if contentType != "application/problem+json" {
			return "", fmt.Errorf("%s %s: status %d with %s is not documented", method, template, status, contentType)
		}
		return ref + "/content/application~1problem+json/schema", nil
	}
	content, _ := responses[key].(map[string]any)["content"].(map[string]any)
	if content == nil && contentType == "" && responses[key] != nil {
		return "", nil // documented as without a body
	}
	if content[contentType] == nil {
		return "", fmt.Errorf("%s %s: status %d with %s is not documented", method, template, status, contentType)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	return fmt.Sprintf("#/paths/%s/%s/responses/%s/content/%s/schema",
		escape.Replace(template), strings.ToLower(method), key, escape.Replace(contentType)), nil
}

func (d *openAPI) validate(method, path string, status int, contentType string, body []byte) error {
	pointer, err := d.find(method, path, status, contentType)
	if err != nil {
		return err
	}
	if pointer == "" {
		if len(body) > 0 {
			return errors.New("there is a body")
		}
		return nil
	}
	schema, err := d.compile(pointer)
	if err != nil {
		return err
	}
	if contentType != "text/event-stream" && !strings.HasSuffix(contentType, "json") {
		return schema.Validate(string(body))
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// validating holds every answer to the document.
type validating struct {
	t    testing.TB
	base http.RoundTripper
	doc  *openAPI
}

func (v *validating) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := v.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "text/event-stream" { // it may have no end
		if _, err := v.doc.find(req.Method, req.URL.Path, resp.StatusCode, media); err != nil {
			v.t.Error(err)
		}
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if media == "application/openapi+json" || media == "text/html" || req.Method == http.MethodHead || req.Method == http.MethodOptions || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	if err := v.doc.validate(req.Method, req.URL.Path, resp.StatusCode, media, body); err != nil {
		v.t.Errorf("%s %s answered %d, which is not as documented: %v\n%.500s", req.Method, req.URL.Path, resp.StatusCode, err, body)
	}
	return resp, nil
}
