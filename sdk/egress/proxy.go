package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// SocketVar is the variable by which a host tells a plugin that it confines where
// the socket of its proxy is.
const SocketVar = "SECURETAG_EGRESS_SOCKET"

// HostProxy is the proxy of the host that confines this process, for
// Config.Proxy; "": there is none, and it dials by itself.
func HostProxy() string { return os.Getenv(SocketVar) }

// What a proxy says of a refusal, in the header of its answer.
const (
	RuleHeader   = "Securetag-Rule"   // the Rule
	ReasonHeader = "Securetag-Reason" // one line for people, without the target
)

// maxProxyAnswer bounds what is read of a proxy's answer, in bytes.
const maxProxyAnswer = 32 << 10

// dialProxy connects to host:port by CONNECT, which serves http as well as https.
func (g *Guard) dialProxy(ctx context.Context, address string) (net.Conn, error) {
	// A transport dials on for a request that has ended.
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", g.cfg.Proxy)
	if err != nil {
		return nil, fmt.Errorf("reach the host's proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	t, err := connect(conn, address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return t, nil
	}
	_ = conn.Close() // nothing was sent but the request
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, err
}

func connect(conn net.Conn, address string) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address); err != nil {
		return nil, fmt.Errorf("ask the host's proxy for %s: %w", address, err)
	}
	bounded := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	r := bufio.NewReader(bounded)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, fmt.Errorf("read the answer of the host's proxy: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		bounded.N = math.MaxInt64
		return &tunnel{conn, r}, nil
	}
	defer resp.Body.Close()
	if reason := resp.Header.Get(ReasonHeader); reason != "" && resp.StatusCode == http.StatusForbidden {
		host, _, _ := net.SplitHostPort(address)
		return nil, &Refused{host, Rule(resp.Header.Get(RuleHeader)), reason}
	}
	body, _ := io.ReadAll(resp.Body) // the status says enough
	said := strings.TrimSpace(string(body))
	if said == "" {
		said = resp.Status
	}
	return nil, errors.New("the host's proxy says: " + said)
}

// tunnel is a connection of which something may have been read already.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.r.Read(p) }
