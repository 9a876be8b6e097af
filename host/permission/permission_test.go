package permission_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/permission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store of one tenant, a name service and the web.
type world struct {
	mu      sync.Mutex
	terms   host.Terms
	targets map[host.TargetID]host.Target
	txt     map[string][]string
	dnsErr  error
	web     map[string]answer
	webErr  error
	asked   []string
}

type answer struct {
	status int
	body   string
	header http.Header
}

func newWorld() *world {
	return &world{targets: map[host.TargetID]host.Target{}, txt: map[string][]string{}, web: map[string]answer{}}
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dnsErr != nil {
		return nil, w.dnsErr
	}
	if all, ok := w.txt[name]; ok {
		return all, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, Server: "10.0.0.53:53", IsNotFound: true}
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r.URL.String())
	if w.webErr != nil {
		return nil, w.webErr
	}
	a, ok := w.web[r.URL.String()]
	if !ok {
		a.status = http.StatusNotFound
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func (w *world) CreateTarget(context.Context, host.Target) (host.Target, error) { panic("not used") }

func (w *world) Targets(context.Context, host.TenantID) ([]host.Target, error) { panic("not used") }

func (w *world) DeleteTarget(context.Context, host.TenantID, host.TargetID) error { panic("not used") }

func (w *world) Target(_ context.Context, _ host.TenantID, id host.TargetID) (host.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.targets[id], nil
}

func (w *world) BeginTargetCheck(_ context.Context, _ host.TenantID, id host.TargetID, pause time.Duration) (host.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.targets[id]
	if !ok {
		return g, host.ErrNotFound
	}
	if !g.CheckedAt.IsZero() && time.Since(g.CheckedAt) < pause {
		return g, host.ErrConflict
	}
	g.CheckedAt = time.Now()
	w.targets[id] = g
	return g, nil
}

func (w *world) EndTargetCheck(_ context.Context, _ host.TenantID, id host.TargetID, c host.TargetCheck) (host.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.targets[id]
	g.Fault = c.Fault
	switch {
	case c.Gone:
		g.Proof, g.ProvenAt = "", time.Time{}
	case c.Proof != "":
		g.Proof, g.ProvenAt = c.Proof, time.Now()
	}
	w.targets[id] = g
	return g, nil
}

func (w *world) DueTargets(_ context.Context, age, life time.Duration, limit int) ([]host.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []host.Target
	for id, g := range w.targets {
		if !g.ProvenAt.IsZero() && time.Since(g.ProvenAt) < life && time.Since(g.CheckedAt) >= age && len(due) < limit {
			g.CheckedAt = time.Now()
			w.targets[id] = g
			due = append(due, g)
		}
	}
	return due, nil
}

func (w *world) Permit(_ context.Context, _ host.TenantID, life time.Duration) (host.Terms, []host.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var proven []host.Target
	for _, g := range w.targets {
		if !g.ProvenAt.IsZero() && time.Since(g.ProvenAt) < life {
			proven = append(proven, g)
		}
	}
	return w.terms, proven, nil
}

// add registers a host.
func (w *world) add(name string, proof host.Proof) host.TargetID {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := host.Target{ID: host.NewTargetID(), Host: name, Token: "token-" + name, Proof: proof}
	if proof != "" {
		g.ProvenAt, g.CheckedAt = time.Now(), time.Now()
	}
	w.targets[g.ID] = g
	return g.ID
}

type plans []string

func (p plans) Plan(t host.Terms) host.Plan {
	return t.Override.Apply(host.Plan{Targets: p})
}

func (plans) Check(string) error { return nil }

func (w *world) permission(plan ...string) *permission.Permission {
	return permission.New(w, plans(plan), w, w, permission.Config{}, hclog.NewNullLogger())
}

// TestHosts: what a plan, a tenant's own list and proofs permit, and nothing else.
func TestHosts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		plan, own, dns, file []string
		yes, no              string // URLs
	}{
		"nothing": {no: "https://never.example.net/ https://example.com/ http://localhost:8080/ http://127.0.0.1/ http://[::1]/ https://com/ http:///x"},
		"everything": {plan: []string{"*"},
			yes: "https://example.com/ http://localhost:8080/ http://127.0.0.1/ http://[::1]:1/"},
		"a plan": {plan: []string{"shop.example.com", "*.example.org:443", "localhost:8080", "192.0.2.7", "[2001:db8::1]:80"},
			yes: "https://shop.example.com/ http://SHOP.example.com.:8000/ https://a.b.example.org/ http://localhost:8080/x http://192.0.2.7:81/ http://[2001:DB8:0::1]/",
			no:  "https://example.com/ https://xshop.example.com/ https://a.shop.example.com/ https://example.org/ http://a.example.org/ http://localhost/ http://localhost:80800/ http://192.0.2.8/ https://[2001:db8::1]/ https://shop.example.com.evil.net/ https://shop%2eexample%2ecom.evil.net/"},
		"the tenant's own":                {plan: []string{"*"}, own: []string{"example.com"}, yes: "https://example.com/", no: "https://example.org/ https://never.example.net/"},
		"the tenant's own, which is none": {plan: []string{"*"}, own: []string{}, no: "https://example.com/"},
		"by DNS": {dns: []string{"example.com"},
			yes: "https://example.com/ http://example.com:8080/ https://a.b.example.com/ https://ｅxample.com/",
			no:  "https://com/ https://example.org/ https://badexample.com/"},
		"by file": {file: []string{"example.com", "api.example.com:8443"},
			yes: "https://example.com/ http://example.com/ http://example.com:443/ https://api.example.com:8443/",
			no:  "https://example.com:8443/ https://www.example.com/ https://api.example.com/ http://example.com:8080/"},
		"international": {dns: []string{"xn--bcher-kva.example"}, yes: "https://bücher.example/ https://BÜCHER.example/", no: "https://bucher.example/"},
	} {
		w := newWorld()
		if tt.own != nil {
			w.terms.Override.Targets = &tt.own
		}
		for _, h := range tt.dns {
			w.add(h, host.ProofDNS)
		}
		for _, h := range tt.file {
			w.add(h, host.ProofFile)
		}
		w.add("never.example.net", host.ProofNone)
		p := w.permission(tt.plan...)
		for u := range strings.FieldsSeq(tt.yes) {
			if hosts, err := p.Hosts(t.Context(), "t", u); err != nil || len(hosts) == 0 {
				t.Errorf("%s: %s: %v", name, u, err)
			}
		}
		for u := range strings.FieldsSeq(tt.no) {
			if hosts, err := p.Hosts(t.Context(), "t", u); !errors.Is(err, host.ErrNotPermitted) {
				t.Errorf("%s: %s may be scanned: %q, %v", name, u, hosts, err)
			}
		}
	}
	w := newWorld()
	w.add("example.com", host.ProofDNS)
	w.add("example.org", host.ProofFile)
	got, err := w.permission("localhost", "example.com").Hosts(t.Context(), "t", "http://localhost:1/")
	if want := []string{"*.example.com", "example.com", "example.org:443", "example.org:80", "localhost"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("a scan may call %q, %v", got, err)
	}
}

// TestDeniedSaysHow: who is refused reads what to do.
func TestDeniedSaysHow(t *testing.T) {
	t.Parallel()
	p := newWorld().permission()
	for u, want := range map[string][]string{
		"https://shop.example.com/":      {`"shop.example.com"`, "_securetag-challenge.shop.example.com", "https://shop.example.com/.well-known/securetag-challenge.txt", "_securetag-challenge.example.com", "the operator"},
		"https://shop.example.com:8443/": {`"shop.example.com:8443"`, "https://shop.example.com:8443/.well-known/securetag-challenge.txt"},
		"http://127.0.0.1/":              {"An address cannot be proved", "the operator"},
	} {
		_, err := p.Hosts(t.Context(), "t", u)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, which lacks %q", u, err, part)
			}
		}
	}
}

func TestParseHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"shop.example.com": "shop.example.com", "SHOP.Example.com.": "shop.example.com", "bücher.example": "xn--bcher-kva.example",
		"example.com:8443": "example.com:8443", "example.com:443": "example.com", "a_b.example.com": "a_b.example.com",
		"": "", "localhost": "", "com": "", "https://example.com": "", "example.com/": "", "u@example.com": "", "*.example.com": "", "*": "", "10.0.0.1": "", "127.1": "", "[::1]": "", "::1": "",
		"example..com": "", ".com": "", "example.com:0": "", "example.com:99999": "", "example.com:": "", "exa mple.com": "", "example.com#": "", strings.Repeat("a.", 200) + "com": "", "example.0x7f": "",
	} {
		if got, err := permission.ParseHost(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
}

const file = "https://example.com/.well-known/securetag-challenge.txt"

// TestVerify: the token counts where it alone is, and what is said of it when it is
// not there shows nothing of the host's own network.
func TestVerify(t *testing.T) {
	t.Parallel()
	const token, record = "token-example.com", "_securetag-challenge.example.com."
	for name, tt := range map[string]struct {
		change func(*world)
		had    host.Proof
		want   host.Proof
		fault  string
	}{
		"nowhere":             {func(*world) {}, "", "", "has no TXT record; https://example.com/.well-known/securetag-challenge.txt answers 404"},
		"as a record":         {func(w *world) { w.txt[record] = []string{"v=spf1", " " + token + " "} }, "", host.ProofDNS, ""},
		"as a file":           {func(w *world) { w.web[file] = answer{200, token + "\n", nil} }, "", host.ProofFile, ""},
		"as both":             {func(w *world) { w.txt[record] = []string{token}; w.web[file] = answer{200, token, nil} }, "", host.ProofDNS, ""},
		"of another":          {func(w *world) { w.txt[record] = []string{"token-other", token + "x"} }, "", "", "the token is none of them"},
		"of the parent":       {func(w *world) { w.txt["_securetag-challenge.com."] = []string{token} }, "", "", "no TXT record"},
		"in a page":           {func(w *world) { w.web[file] = answer{200, "<html>" + token, nil} }, "", "", "does not hold the token and nothing else"},
		"in a long page":      {func(w *world) { w.web[file] = answer{200, token + strings.Repeat(" ", 2000), nil} }, "", "", "nothing else"},
		"behind a redirect":   {func(w *world) { w.web[file] = answer{302, token, http.Header{"Location": {"https://evil.example/"}}} }, "", "", "answers 302, and must answer 200; redirects are not followed"},
		"with an error":       {func(w *world) { w.web[file] = answer{500, token, nil} }, "", "", "answers 500"},
		"not called":          {func(w *world) { w.webErr = host.ErrInvalid }, "", "", "leads where this host does not call"},
		"no answer":           {func(w *world) { w.webErr = errors.New("dial 10.1.2.3: refused") }, "", "", "did not answer"},
		"no name service":     {func(w *world) { w.dnsErr = errors.New("10.0.0.53 timed out") }, "", "", "could not be looked up"},
		"gone record":         {func(*world) {}, host.ProofDNS, "", "no TXT record"},
		"gone file":           {func(*world) {}, host.ProofFile, "", "answers 404"},
		"moved":               {func(w *world) { w.web[file] = answer{200, token, nil} }, host.ProofDNS, host.ProofFile, ""},
		"record not seen":     {func(w *world) { w.dnsErr = errors.New("timed out") }, host.ProofDNS, host.ProofDNS, "could not be looked up"},
		"file not seen":       {func(w *world) { w.webErr = errors.New("timed out") }, host.ProofFile, host.ProofFile, "did not answer"},
		"file behind trouble": {func(w *world) { w.web[file] = answer{503, "", nil} }, host.ProofFile, host.ProofFile, "answers 503"},
	} {
		w := newWorld()
		id := w.add("example.com", tt.had)
		w.targets[id] = host.Target{ID: id, Host: "example.com", Token: token, Proof: tt.had, ProvenAt: w.targets[id].ProvenAt}
		tt.change(w)
		got, err := w.permission().Verify(t.Context(), "t", id)
		if err != nil || got.Proof != tt.want || !strings.Contains(got.Fault, tt.fault) || (tt.fault == "") != (got.Fault == "") {
			t.Errorf("%s: proof %q, fault %q, %v", name, got.Proof, got.Fault, err)
		}
		if strings.Contains(got.Fault, "10.") || strings.Contains(got.Fault, "evil") {
			t.Errorf("%s: the fault shows too much: %q", name, got.Fault)
		}
		if diff := cmp.Diff([]string{file}, w.asked); diff != "" {
			t.Errorf("%s: asked for (-want +got):\n%s", name, diff)
		}
	}
}

// TestVerifyBounds: not again at once, and not for a client that has gone.
func TestVerifyBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		id := w.add("example.com", host.ProofNone)
		p := w.permission()
		if _, err := p.Verify(t.Context(), "t", id); err != nil {
			t.Fatal(err)
		}
		var soon *permission.TooSoon
		if _, err := p.Verify(t.Context(), "t", id); !errors.As(err, &soon) || !errors.Is(err, host.ErrConflict) {
			t.Errorf("again at once: %v", err)
		}
		time.Sleep(soon.Pause)
		if _, err := p.Verify(t.Context(), "t", id); err != nil {
			t.Errorf("again later: %v", err)
		}
		if _, err := p.Verify(t.Context(), "t", host.NewTargetID()); !errors.Is(err, host.ErrNotFound) {
			t.Errorf("of nobody's: %v", err)
		}
		time.Sleep(soon.Pause)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := p.Verify(gone, "t", id); !errors.Is(err, context.Canceled) {
			t.Errorf("for nobody: %+v, %v", got, err)
		}
	})
}

// TestVerifyAtOnce: a tenant whose sites answer slowly keeps nobody else waiting.
func TestVerifyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow, release := make(chan struct{}), make(chan struct{})
		p := permission.New(w, plans(nil), w, hanging{slow, release}, permission.Config{}, hclog.NewNullLogger())
		var all sync.WaitGroup
		for _, name := range []string{"a.example.com", "b.example.com"} {
			id := w.add(name, host.ProofNone)
			all.Go(func() {
				if _, err := p.Verify(t.Context(), "slow", id); err != nil {
					t.Error(err)
				}
			})
			<-slow
		}
		if _, err := p.Verify(t.Context(), "slow", w.add("c.example.com", host.ProofNone)); !errors.Is(err, host.ErrUnavailable) {
			t.Errorf("a third one at once: %v", err)
		}
		id := w.add("d.example.com", host.ProofNone)
		all.Go(func() {
			if _, err := p.Verify(t.Context(), "other", id); err != nil {
				t.Errorf("another tenant: %v", err)
			}
		})
		<-slow
		close(release)
		all.Wait()
	})
}

// hanging is a web that answers when it is released.
type hanging struct{ slow, release chan struct{} }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.slow <- struct{}{}
	<-h.release
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
}

// TestRunChecksAgain: a proof lasts as long as its token is there, ends when that
// is taken away, and by its time when nobody can look.
func TestRunChecksAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add("example.com", host.ProofDNS)
		w.txt["_securetag-challenge.example.com."] = []string{"token-example.com"}
		p := w.permission()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		may := func() bool {
			_, err := p.Hosts(t.Context(), "t", "https://www.example.com/")
			return err == nil
		}
		const day = 24 * time.Hour
		if time.Sleep(90 * day); !may() {
			t.Error("the proof ended although its token is there")
		}
		w.mu.Lock()
		w.dnsErr = errors.New("no name server")
		w.mu.Unlock()
		if time.Sleep(20 * day); !may() {
			t.Error("the proof ended at once when nobody could look")
		}
		if time.Sleep(20 * day); may() {
			t.Error("the proof holds for ever when nobody can look")
		}
		w.mu.Lock()
		w.dnsErr, w.txt = nil, map[string][]string{}
		w.mu.Unlock()
		id := w.add("example.com", host.ProofDNS)
		if time.Sleep(2 * day); may() {
			t.Error("the proof holds without its token")
		}
		if g, _ := w.Target(t.Context(), "t", id); g.Proof != host.ProofNone {
			t.Errorf("%+v", g)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
