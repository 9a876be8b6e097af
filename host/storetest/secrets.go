package storetest

import (
	"bytes"
	"errors"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// secretive is a scan with secret options.
func secretive(t host.TenantID, plugins ...string) host.Scan {
	scan := newScan(t, plugins...)
	scan.Secrets, scan.SecretOptions = []byte("\x00a box\xff of "+scan.ID), []string{"cookies", "headers"}
	return scan
}

// testSecrets: every claim gives the box, nothing else does, and all see the names.
func testSecrets(s *suite) {
	given := keyed(secretive(s.tenant(), "a", "b"), 1, 1)
	box := given.Secrets
	scan := s.accept(given)
	if diff := cmp.Diff(scan, s.get(scan)); diff != "" {
		s.Errorf("read back (-accepted +read):\n%s", diff)
	}
	list, err := s.Scans(s.ctx(), scan.TenantID, host.ScanQuery{})
	s.check(err)
	earlier, err := s.Earlier(s.ctx(), scan.TenantID, given.Once.Key)
	s.check(err)
	for what, shown := range map[string]host.Scan{"accepted": scan, "listed": list[0], "earlier": earlier.Scan} {
		if shown.Secrets != nil || !slices.Equal(shown.SecretOptions, given.SecretOptions) {
			s.Errorf("%s: the box %q, the names %q", what, shown.Secrets, shown.SecretOptions)
		}
	}
	claims := s.claimAll(scan)
	for _, c := range claims {
		if !bytes.Equal(c.Scan.Secrets, box) || !slices.Equal(c.Scan.SecretOptions, given.SecretOptions) {
			s.Errorf("a claim has the box %q, the names %q", c.Scan.Secrets, c.Scan.SecretOptions)
		}
	}
	// The scan has not ended: neither with one of its jobs, nor with an attempt.
	again := end(claims[1].Lease, host.StateQueued)
	s.finish(end(claims[0].Lease, host.StateSucceeded), again)
	s.handOut(scan)
	second, err := s.Claim(s.ctx(), "host-b", jobIDs(scan)[1:], ttl)
	s.check(err)
	if len(second) != 1 || !bytes.Equal(second[0].Scan.Secrets, box) {
		s.Errorf("the second attempt: %+v", second)
	}
	for _, c := range s.claimAll(s.one()) {
		if c.Scan.Secrets != nil || c.Scan.SecretOptions != nil {
			s.Errorf("a scan without any has the box %q, the names %q", c.Scan.Secrets, c.Scan.SecretOptions)
		}
	}
	for _, half := range []host.Scan{{Secrets: box}, {SecretOptions: []string{"headers"}}} {
		wrong := newScan(scan.TenantID, "a")
		wrong.Secrets, wrong.SecretOptions = half.Secrets, half.SecretOptions
		if _, err := s.Accept(s.ctx(), []host.Scan{wrong}, nil); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("accepted with the box %q and the names %q: %v", wrong.Secrets, wrong.SecretOptions, err)
		}
	}
}

// testSecretsEnd: whatever ends a scan removes its box for good. What the store
// has of it is seen in the claim that an operator's requeue leads to; a check of
// the table refuses a scan that has ended and a box still.
func testSecretsEnd(s *suite) {
	for _, state := range host.States() {
		if !state.Final() {
			continue
		}
		scan := s.accept(secretive(s.tenant(), "a"))
		claims := s.claimAll(scan)
		if state == host.StateCanceled {
			s.cancel(scan)
		}
		s.finish(end(claims[0].Lease, state))
		s.wantState(scan, state, state)
		if got := s.get(scan).SecretOptions; !slices.Equal(got, scan.SecretOptions) {
			s.Errorf("a scan that is %s has the names %q", state, got)
		}
	}
	waits := s.accept(secretive(s.tenant(), "a"))
	s.cancel(waits)
	s.wantState(waits, host.StateCanceled, host.StateCanceled)

	deleted := s.accept(secretive(s.tenant(), "a"))
	_, err := s.DeleteScan(s.ctx(), deleted.TenantID, deleted.ID)
	s.check(err)

	scan := s.accept(secretive(s.tenant(), "a"))
	o := end(s.claimAll(scan)[0].Lease, host.StateFailed)
	o.Dead = true
	s.finish(o)
	refused, err := s.Requeue(s.ctx(), jobIDs(scan))
	s.check(err)
	if len(refused) > 0 {
		s.Fatalf("requeue refused %v", refused)
	}
	for _, c := range s.claimAll(scan) {
		if c.Scan.Secrets != nil || !slices.Equal(c.Scan.SecretOptions, scan.SecretOptions) {
			s.Errorf("requeued, it has the box %q, the names %q", c.Scan.Secrets, c.Scan.SecretOptions)
		}
	}
}
