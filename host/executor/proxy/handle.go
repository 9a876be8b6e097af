package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/sdk/egress"
)

// maxAnswerHeader bounds the header of an answer to a plain request, in bytes.
const maxAnswerHeader = 64 << 10

// ServeHTTP implements http.Handler.
func (e *Exit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*inward)
	if ok {
		defer func() {
			if c.taken {
				_ = c.Close()
				e.handling.Done()
			}
		}()
	}
	switch {
	case ok && c.over:
		w.Header().Set("Connection", "close")
		e.answer(w, r, http.StatusServiceUnavailable, fmt.Sprintf("this process has %d connections through the host's proxy, and may not have more at once", e.cfg.Connections))
	case r.Method == http.MethodConnect:
		e.tunnel(w, r)
	case !r.URL.IsAbs():
		e.answer(w, r, http.StatusBadRequest, "this is the host's proxy: it takes CONNECT, and requests with a whole URL that begins with http://")
	case r.URL.Scheme != "http":
		e.answer(w, r, http.StatusBadRequest, "the host's proxy takes http:// only as a whole URL; for https ask with CONNECT")
	default:
		if err := e.rules().CheckURL(r.URL); err != nil {
			e.failed(w, r, err)
			return
		}
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil // the answer's own, or none
		e.forward.ServeHTTP(w, r)
	}
}

// tunnel serves CONNECT.
func (e *Exit) tunnel(w http.ResponseWriter, r *http.Request) {
	conn, err := e.dial(r.Context(), "tcp", r.URL.Host)
	if err != nil {
		e.failed(w, r, err)
		return
	}
	defer func() { _ = conn.Close() }() // carry has said what there was to say
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it is gone
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	carry(client, buffered.Reader, conn)
}

// carry passes bytes on until both sides have said their last, or one is gone.
func carry(client net.Conn, from *bufio.Reader, to net.Conn) {
	hangUp := func() {
		_ = client.Close()
		_ = to.Close()
	}
	if out, ok := to.(*outward); ok {
		out.then(func() { _ = client.Close() }) // nobody may wait for a plugin that reads nothing
	}
	pass := func(dst net.Conn, src io.Reader) {
		_, err := io.Copy(dst, src)
		if err == nil {
			err = closeWrite(dst)
		}
		if err != nil {
			hangUp()
		}
	}
	var both sync.WaitGroup
	both.Go(func() { pass(to, from) })
	pass(client, to)
	both.Wait()
	hangUp()
}

// newForward makes what serves requests with a whole URL.
func (e *Exit) newForward() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: &http.Transport{
			DialContext: e.dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswerHeader,
		},
		// A scanner says what it means: what Rewrite takes away by itself comes back.
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if v, ok := p.In.Header[name]; ok {
					p.Out.Header[name] = v
				}
			}
		},
		FlushInterval: -1,
		ErrorHandler:  e.failed,
		ErrorLog:      e.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// failed answers a request that led nowhere.
func (e *Exit) failed(w http.ResponseWriter, r *http.Request, err error) {
	var refused *egress.Refused
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		e.own.refused.Add(1)
		e.all.refused.Add(1)
		e.log.Debug("the host's proxy refused a plugin", "target", refused.Target, "rule", string(refused.Rule))
		reason := refused.Reason + e.advice(refused)
		w.Header().Set(egress.RuleHeader, string(refused.Rule))
		w.Header().Set(egress.ReasonHeader, line(reason))
		e.answer(w, r, http.StatusForbidden, fmt.Sprintf("%.255q is refused: %s", refused.Target, reason))
	case errors.Is(err, errSpent):
		e.own.refused.Add(1)
		e.all.refused.Add(1)
		e.answer(w, r, http.StatusForbidden, fmt.Sprintf("the job has used up the %d bytes that it may send and receive; an operator can raise egress_bytes in the limits of the block plugin %q", e.cfg.Bytes, e.cfg.Plugin))
	case errors.As(err, &dns): // not the address of the host's name server
		e.answer(w, r, http.StatusBadGateway, fmt.Sprintf("resolve %.255q: %s", strings.TrimSuffix(dns.Name, "."), dns.Err))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.answer(w, r, http.StatusGatewayTimeout, fmt.Sprintf("%.255q did not answer in time", r.Host))
	default:
		e.answer(w, r, http.StatusBadGateway, err.Error())
	}
}

// advice is what an operator could do about a refusal.
func (e *Exit) advice(r *egress.Refused) string {
	if r.Rule == egress.RulePermitted {
		return "; its tenant can prove that it is its own, or an operator can name it in the tenant's targets"
	}
	setting := map[egress.Rule]string{
		egress.RuleHost:    "name it in egress_hosts",
		egress.RulePort:    "name it in egress_ports, or behind its host in egress_hosts,",
		egress.RuleName:    "name the network in which it is in egress_networks",
		egress.RuleAddress: "name its network in egress_networks",
		egress.RuleOwn:     "name it so in egress_networks",
		egress.RuleLiteral: "set egress_literals, or name it in egress_hosts,",
	}[r.Rule]
	if setting == "" {
		return "; no setting allows that"
	}
	return fmt.Sprintf("; an operator can %s of the block plugin %q", setting, e.cfg.Plugin)
}

// answer says one line. To CONNECT it says it in the status as well, which is all
// that most clients show of it.
func (e *Exit) answer(w http.ResponseWriter, r *http.Request, status int, text string) {
	text = line(text)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodConnect {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
		return
	}
	header := w.Header().Clone()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it is gone
	}
	header.Set("Connection", "close")
	header.Set("Content-Length", fmt.Sprint(len(text)+1))
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, text)
	_ = header.Write(&b)
	_, _ = io.WriteString(client, b.String()+"\r\n"+text+"\n")
}

// line is text as it may stand in a header.
func line(text string) string {
	const most = 500
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), most)]
}
