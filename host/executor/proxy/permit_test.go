package proxy_test

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/sdk/egress"
)

// wantPermitted asks for a place and says whether the jobs may call it.
func (w *way) wantPermitted(t *testing.T, place string, ok bool) {
	t.Helper()
	resp, body := w.ask(t, "CONNECT "+place+" HTTP/1.1\r\n\r\n")
	if ok {
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %q", place, resp.Status, body)
		}
		return
	}
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get(egress.RuleHeader) != "permitted" || !strings.Contains(body, "its tenant can prove") {
		t.Errorf("CONNECT %s: %s %q", place, resp.Status, body)
	}
	if resp, body := w.ask(t, "GET http://"+place+"/ HTTP/1.1\r\nHost: x\r\n\r\n"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "that this scan may call") {
		t.Errorf("GET %s: %s %q", place, resp.Status, body)
	}
}

// TestPermitted: the process calls what its running jobs may, together; what was
// opened under another rule ends, and between two jobs there is none of more.
func TestPermitted(t *testing.T) {
	t.Parallel()
	one, two := echo(t), echo(t)
	w := open(t, proxy.Config{Rules: near()})
	_, early := w.tunnel(t, two) // before there was a job
	first := w.Begin([]string{one})
	if _, err := early.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("what was opened before the job is open: %v", err)
	}
	conn, mine := w.tunnel(t, one)
	w.wantPermitted(t, two, false)
	g, err := egress.New(egress.Config{Proxy: w.socket, Allow: near().Allow, Ports: near().Ports})
	if err != nil {
		t.Fatal(err)
	}
	var r *egress.Refused
	if _, err := g.DialContext(t.Context(), "tcp", two); !errors.As(err, &r) || r.Rule != egress.RulePermitted {
		t.Errorf("by its own client: %v", err)
	}

	second := w.Begin([]string{two})
	w.wantPermitted(t, one, true)
	_, others := w.tunnel(t, two)
	second()
	if _, err := others.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("what only the second job might call is open: %v", err)
	}
	b := make([]byte, 4)
	_, _ = io.WriteString(conn, "more")
	if _, err := io.ReadFull(mine, b); err != nil || string(b) != "more" {
		t.Errorf("what the first may call: %q, %v", b, err)
	}
	first()
	w.wantPermitted(t, two, false) // nobody's job, and no new rule

	any := w.Begin(nil)
	w.wantPermitted(t, two, true)
	narrow := w.Begin([]string{one})
	w.wantPermitted(t, two, true)
	any()
	w.wantPermitted(t, two, false)
	narrow()
}

// TestPermittedMeanwhile: a job that begins while a name is looked up has its say.
func TestPermittedMeanwhile(t *testing.T) {
	t.Parallel()
	to := echo(t)
	_, port, _ := strings.Cut(to, ":")
	rules := near()
	n := &names{}
	rules.Resolver, rules.Own = n, func() ([]netip.Addr, error) { return nil, nil }
	w := open(t, proxy.Config{Rules: rules})
	n.find = func(string) []string {
		w.Begin([]string{"other.acme.com"})
		return []string{"127.0.0.1"}
	}
	resp, body := w.ask(t, "CONNECT slow.acme.com:"+port+" HTTP/1.1\r\n\r\n")
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "that this scan may call") {
		t.Errorf("%s %q", resp.Status, body)
	}
}
