package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/sdk"
)

const (
	soon     = 14 * 24 * time.Hour
	maxHosts = 5 // origins over https that are looked at
)

// lenient takes every certificate and every version: a site with a bad one is
// looked at all the same, and that is a finding of its own. Nothing secret is sent.
func lenient() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: suites(true)} //nolint:gosec // it only reads, and says what is wrong
}

// suites are those below TLS 1.3; with insecure, all.
func suites(insecure bool) []uint16 {
	var out []uint16
	for _, c := range tls.CipherSuites() {
		out = append(out, c.ID)
	}
	if insecure {
		for _, c := range tls.InsecureCipherSuites() {
			out = append(out, c.ID)
		}
	}
	return out
}

// checkTLS makes handshakes of its own with each origin over https.
func (s *scan) checkTLS(ctx context.Context) error {
	n := 0
	for _, o := range s.origins {
		u, err := url.Parse(o + "/")
		if err != nil {
			return err
		}
		if u.Scheme != "https" {
			continue
		}
		if n++; n > maxHosts {
			continue
		}
		state, err := s.handshake(ctx, u, lenient())
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.missed(fmt.Sprintf("TLS of %s was not looked at: %v", o, err))
			continue
		}
		t := &tlsCheck{scan: s, url: u}
		t.certificate(state)
		t.versions(ctx, state)
		t.ciphers(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if n > maxHosts {
		s.missed(fmt.Sprintf("TLS was looked at for the first %d hosts of the site, and not for %d more", maxHosts, n-maxHosts))
	}
	return nil
}

// errDeclined is a handshake that the server did not want: it is there, and says
// no, or hangs up. Every other error says nothing of what it takes.
var errDeclined = errors.New("the server declined the handshake")

// handshake is one, past the guard and with the rate of requests.
func (s *scan) handshake(ctx context.Context, u *url.URL, cfg *tls.Config) (tls.ConnectionState, error) {
	var none tls.ConnectionState
	if err := s.limiter.Wait(ctx); err != nil {
		return none, timeUp(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	raw, err := s.guard.DialContext(ctx, "tcp", net.JoinHostPort(hostOf(u), portOf(u)))
	if err != nil {
		return none, err
	}
	defer func() { _ = raw.Close() }() // nothing is lost: no data was sent
	cfg.ServerName = hostOf(u)
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", errDeclined, err)
		}
		return none, err
	}
	return conn.ConnectionState(), nil
}

type tlsCheck struct {
	*scan
	url *url.URL
}

// found reports something of TLS, which has no request and no answer to show.
func (t *tlsCheck) found(rule, key, message string, props map[string]string) {
	id := rule + "\x00" + origin(t.url) + "\x00" + key
	if t.seen[id] {
		return
	}
	t.seen[id] = true
	t.ruleHits[rule]++
	props["method"], props["url"] = "TLS", origin(t.url)+"/"
	var lines []string
	for k, v := range props {
		if k != "url" && k != "method" {
			lines = append(lines, k+": "+v)
		}
	}
	slices.Sort(lines)
	t.out.Finding(rule, sdk.Finding{
		Message: message, Confidence: sdk.ConfidenceHigh, At: sdk.Location{URL: origin(t.url) + "/"}, Identity: []string{key},
		Snippet: "TLS handshake with " + t.url.Host + "\n" + strings.Join(lines, "\n"), Properties: props,
	})
}

// certificate looks at the chain as a browser would, and says each thing that is
// wrong with it.
func (t *tlsCheck) certificate(state tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	props := func() map[string]string {
		return map[string]string{
			"subject": cutText(leaf.Subject.String(), 200), "issuer": cutText(leaf.Issuer.String(), 200),
			"not_before": leaf.NotBefore.UTC().Format(time.RFC3339), "not_after": leaf.NotAfter.UTC().Format(time.RFC3339),
			"names": cutText(strings.Join(leaf.DNSNames, " "), 300),
		}
	}
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		t.found("tls-certificate-expired", "", fmt.Sprintf("The certificate expired at %s: browsers refuse the site.", leaf.NotAfter.UTC().Format(time.DateOnly)), props())
	case now.Before(leaf.NotBefore):
		t.found("tls-certificate-expired", "", fmt.Sprintf("The certificate is not valid before %s: browsers refuse the site.", leaf.NotBefore.UTC().Format(time.DateOnly)), props())
	case now.Add(soon).After(leaf.NotAfter):
		t.found("tls-certificate-expires", "", fmt.Sprintf("The certificate expires at %s, in less than two weeks.", leaf.NotAfter.UTC().Format(time.DateOnly)), props())
	}
	if err := leaf.VerifyHostname(hostOf(t.url)); err != nil {
		t.found("tls-certificate-name", "", fmt.Sprintf("The certificate is not for %s: browsers refuse the site.", hostOf(t.url)), props())
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	// At a time at which it is valid, so that what expired is not said twice.
	_, err := leaf.Verify(x509.VerifyOptions{Roots: t.roots, Intermediates: between, CurrentTime: middle(leaf, now)})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && t.rootless {
		t.missed(fmt.Sprintf("whether browsers trust the certificate of %s is not known: this host has no certificate authorities (ca-certificates)", origin(t.url)))
	} else if errors.As(err, &unknown) {
		t.found("tls-certificate-untrusted", "", "No authority that is trusted here has signed the certificate: browsers refuse the site.", props())
	} else if err != nil {
		t.found("tls-certificate-untrusted", "", fmt.Sprintf("The certificate does not hold: %.200v.", err), props())
	}
	if weak := weakKey(leaf); weak != "" {
		t.found("tls-weak-key", "", fmt.Sprintf("The key of the certificate is too short: %s.", weak), props())
	}
}

func middle(c *x509.Certificate, now time.Time) time.Time {
	if now.After(c.NotAfter) || now.Before(c.NotBefore) {
		return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
	}
	return now
}

func weakKey(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return fmt.Sprintf("RSA with %d bits", k.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return fmt.Sprintf("ECDSA with %d bits", k.Curve.Params().BitSize)
		}
	}
	return ""
}

// versions asks for the old ones, each alone.
func (t *tlsCheck) versions(ctx context.Context, best tls.ConnectionState) {
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		cfg := lenient()
		cfg.MinVersion, cfg.MaxVersion = v, v
		state, err := t.handshake(ctx, t.url, cfg)
		if err != nil {
			t.unanswered(err)
			continue
		}
		t.found("tls-old-version", tls.VersionName(v), fmt.Sprintf("The server still speaks %s, which RFC 8996 forbids.", tls.VersionName(v)),
			map[string]string{"version": tls.VersionName(v), "cipher": tls.CipherSuiteName(state.CipherSuite)})
	}
	if best.Version < tls.VersionTLS13 {
		t.found("tls-no-13", "", fmt.Sprintf("The server does not speak TLS 1.3: %s is the best it has.", tls.VersionName(best.Version)),
			map[string]string{"version": tls.VersionName(best.Version)})
	}
}

// unanswered makes the scan partial by a question that has no answer, which a
// server that says no has.
func (t *tlsCheck) unanswered(err error) {
	if !errors.Is(err, errDeclined) {
		t.missed(fmt.Sprintf("TLS of %s was not looked at whole: %v", origin(t.url), err))
	}
}

// ciphers offers the weak ones alone, and takes away what the server chose until
// it has none of them.
func (t *tlsCheck) ciphers(ctx context.Context) {
	var offer []uint16
	for _, c := range tls.InsecureCipherSuites() {
		offer = append(offer, c.ID)
	}
	for len(offer) > 0 {
		cfg := lenient()
		cfg.MaxVersion, cfg.CipherSuites = tls.VersionTLS12, offer
		state, err := t.handshake(ctx, t.url, cfg)
		if err != nil {
			t.unanswered(err)
			return
		}
		i := slices.Index(offer, state.CipherSuite)
		if i < 0 {
			return
		}
		name := tls.CipherSuiteName(state.CipherSuite)
		t.found("tls-weak-cipher", name, fmt.Sprintf("The server takes the weak cipher suite %s: it keeps no forward secrecy, or is broken.", name),
			map[string]string{"cipher": name, "version": tls.VersionName(state.Version)})
		offer = slices.Delete(offer, i, i+1)
	}
}
