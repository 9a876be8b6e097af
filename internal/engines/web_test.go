package engines_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/executor/proxy"
	"github.com/securetaghq/securetag/sdk/egress"
)

// TestWebOverTLS: a site over https is seen through the host's proxy as it is
// without: its certificate, the versions that it speaks and its ciphers are those
// of the site.
func TestWebOverTLS(t *testing.T) {
	t.Parallel()
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><title>x</title><a href="/more">more</a>`)
	}))
	weak := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	site.TLS = &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: weak} //nolint:gosec // that is to be found
	site.Config.ErrorLog = log.New(io.Discard, "", 0)                        // handshakes that fail are part of it
	site.StartTLS()
	defer site.Close()
	e := engine{
		url: site.URL + "/", options: json.RawMessage(`{"passive": true}`),
		settings: map[string]any{"allow_networks": []string{"127.0.0.0/8"}, "ports": []string{"1-65535"}, "requests_per_second": 1000},
	}
	lines := func(how string, got ending) []string {
		if got.err != nil || got.report.State != host.StateSucceeded {
			t.Fatalf("%s: %s", how, got)
		}
		var out []string
		for _, f := range got.findings {
			out = append(out, fmt.Sprintf("%s %s %s", f.RuleID, f.Location.URL, f.Message))
		}
		slices.Sort(out)
		return out
	}
	direct := lines("direct", run(t.Context(), t, e, e.plugin(t, "web"), nil))
	p := e.plugin(t, "web")
	p.Sandbox = executor.Required
	p.Egress = &proxy.Config{Rules: egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: []egress.Ports{{First: 1, Last: 65535}}}}
	through := run(t.Context(), t, e, p, nil)
	if diff := cmp.Diff(direct, lines("through the proxy", through)); diff != "" {
		t.Errorf("what is found (-direct +through the proxy):\n%s", diff)
	}
	for _, want := range []string{"tls-old-version", "speaks TLS 1.0", "speaks TLS 1.1", "tls-weak-cipher", "TLS_RSA_WITH_AES_128_CBC_SHA", "tls-certificate-untrusted"} {
		if !strings.Contains(strings.Join(direct, "\n"), want) {
			t.Errorf("no %s in %q", want, direct)
		}
	}
	if u := through.egress; u.Connections < 6 || u.Refused > 0 { // pages, and a handshake for each question
		t.Errorf("through the proxy: %+v", u)
	}
}
