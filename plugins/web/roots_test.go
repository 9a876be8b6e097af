package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

// TestNoAuthorities: on a machine without any, no certificate is called untrusted by
// browsers, and none is taken for trusted.
func TestNoAuthorities(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	cert := a.sign(t, "site.test", time.Now().Add(-time.Hour), time.Now().Add(900*time.Hour), false)
	for name, tt := range map[string]struct {
		system func() (*x509.CertPool, error)
		ca     string
		rules  []string
		status string
	}{
		"none":            {func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }, "", nil, sdktest.Partial},
		"cannot be read":  {func() (*x509.CertPool, error) { return nil, errors.New("no") }, "", nil, sdktest.Partial},
		"one that signed": {func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }, a.pem, nil, sdktest.Succeeded},
		"others": {func() (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			pool.AddCert(other.cert)
			return pool, nil
		}, "", []string{"tls-certificate-untrusted"}, sdktest.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, "site.test", htmlPage("hello"), nil, &tls.Config{Certificates: []tls.Certificate{cert}})
			s.env.system = tt.system
			r := s.scan(t, map[string]any{"ca": tt.ca}, map[string]any{"passive": true})
			if diff := cmp.Diff(tt.rules, broken(r.Findings, "tls-certificate-")); diff != "" || r.Status != tt.status {
				t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
			}
			if r.Status == sdktest.Partial && !strings.Contains(r.Reason, "has no certificate authorities") {
				t.Errorf("%s", r.Reason)
			}
		})
	}
}
