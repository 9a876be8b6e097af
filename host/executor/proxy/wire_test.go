package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/securetaghq/securetag/host/executor/proxy"
)

// TestOneRequestEach: where a request ends is read one way; what follows it on the
// connection is a request of its own, which is looked at; and what is between a
// client and its proxy goes no further.
func TestOneRequestEach(t *testing.T) {
	t.Parallel()
	var heard atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Add(1)
		body, _ := io.ReadAll(r.Body)
		var hop []string
		for _, name := range []string{"X-Hop", "Proxy-Authorization", "Proxy-Connection", "Keep-Alive", "Te"} {
			hop = append(hop, r.Header[name]...)
		}
		_, _ = fmt.Fprintf(w, "%s %q %v %q", r.Host, hop, r.TransferEncoding, body)
	}))
	defer srv.Close()
	at := strings.TrimPrefix(srv.URL, "http://")
	w := open(t, proxy.Config{Rules: near()})
	const second = "GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		request string
		first   string // the answer of the site, or the status of the refusal
		next    int    // of the second
	}{
		"hop by hop": {
			"GET http://" + at + "/ HTTP/1.1\r\nHost: other.acme.com\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: gzip\r\n\r\n",
			at + ` [] [] ""`, 403,
		},
		"both lengths": {
			"POST http://" + at + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			at + ` [] [chunked] "hello"`, 403,
		},
		"a request as a body": {
			fmt.Sprintf("POST http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", at, len(second)) + second,
			fmt.Sprintf(`%s [] [] %q`, at, second), 403,
		},
		"two lengths":     {"POST http://" + at + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello", "400", 0},
		"no chunks":       {"POST http://" + at + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501", 0},
		"space at a name": {"GET http://" + at + "/ HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\n", "400", 0},
		"a bad value":     {"GET http://" + at + "/ HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", "400", 0},
	} {
		before := heard.Load()
		conn := w.dial(t)
		_, _ = io.WriteString(conn, tt.request+second)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if refused := len(tt.first) == 3; refused && resp.Status[:3] != tt.first || !refused && string(body) != tt.first || refused != (heard.Load() == before) {
			t.Errorf("%s: %s %q, want %s", name, resp.Status, body, tt.first)
		}
		next := 0 // the connection ends
		if resp, err := http.ReadResponse(r, nil); err == nil {
			next = resp.StatusCode
			resp.Body.Close()
		}
		if next != tt.next {
			t.Errorf("%s: what follows is answered with %d, want %d", name, next, tt.next)
		}
		conn.Close()
	}
	if n := heard.Load(); n != 3 {
		t.Errorf("the site heard %d requests, want 3", n)
	}
}
