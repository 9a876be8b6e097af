package permission

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/securetaghq/securetag/host"
)

const (
	maxRecords = 64      // of a name that are looked at
	maxFile    = 1 << 10 // bytes of the file
	dueAtOnce  = 16      // proofs that are taken to be checked again
	// storeTime bounds how long what a check found may take to be stored, also when
	// whoever asked has gone.
	storeTime = 10 * time.Second
)

// NewToken makes what a tenant publishes.
func NewToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never returns an error
	return "securetag-" + base64.RawURLEncoding.EncodeToString(b)
}

// Expires is when a target's proof ends unless a check finds the token again; zero
// when there is none.
func (p *Permission) Expires(g host.Target) time.Time {
	if g.ProvenAt.IsZero() {
		return time.Time{}
	}
	life, _ := p.cfg.Times()
	return g.ProvenAt.Add(life)
}

// TooSoon is why a target was not checked. It wraps host.ErrConflict.
type TooSoon struct{ Pause time.Duration }

func (e *TooSoon) Error() string {
	return fmt.Sprintf("the last check began less than %v ago", e.Pause)
}

// Unwrap gives host.ErrConflict.
func (e *TooSoon) Unwrap() error { return host.ErrConflict }

// Verify looks for the token of a target and returns the target with what it
// found. *[TooSoon] when it was looked for a moment ago, host.ErrUnavailable when
// too many others are.
func (p *Permission) Verify(ctx context.Context, t host.TenantID, id host.TargetID) (host.Target, error) {
	done, ok := p.take(t)
	if !ok {
		return host.Target{}, fmt.Errorf("verify target %.64q: too many are being verified: %w", string(id), host.ErrUnavailable)
	}
	defer done()
	g, err := p.store.BeginTargetCheck(ctx, t, id, p.cfg.Pause)
	if errors.Is(err, host.ErrConflict) {
		return g, &TooSoon{p.cfg.Pause}
	}
	if err != nil {
		return g, err
	}
	return p.check(ctx, g)
}

// take takes a slot for a check that a tenant asks for, if there is one.
func (p *Permission) take(t host.TenantID) (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[t] >= perTenant {
		return nil, false
	}
	select {
	case p.checks <- struct{}{}:
	default:
		return nil, false
	}
	p.busy[t]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.busy[t]--; p.busy[t] == 0 {
			delete(p.busy, t)
		}
		<-p.checks
	}, true
}

// check is a check that has begun.
func (p *Permission) check(ctx context.Context, g host.Target) (host.Target, error) {
	looking, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	c := p.look(looking, g)
	cancel()
	if ctx.Err() != nil && c.Proof == host.ProofNone { // it says nothing of the target
		return host.Target{}, context.Cause(ctx)
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return p.store.EndTargetCheck(ctx, g.TenantID, g.ID, c)
}

// seen is what was found in one of the two places.
type seen struct {
	token bool
	// sure: whoever answers for the place said that the token is not there.
	sure bool
	why  string
}

// look asks in both places at once, so that a slow one holds up nothing.
func (p *Permission) look(ctx context.Context, g host.Target) host.TargetCheck {
	var record, file seen
	var both errgroup.Group
	both.Go(func() error { record = p.record(ctx, g); return nil })
	both.Go(func() error { file = p.file(ctx, g); return nil })
	_ = both.Wait() // neither gives an error
	switch {
	case record.token: // the one that covers more
		return host.TargetCheck{Proof: host.ProofDNS}
	case file.token:
		return host.TargetCheck{Proof: host.ProofFile}
	}
	c := host.TargetCheck{Fault: record.why + "; " + file.why}
	c.Gone = g.Proof == host.ProofDNS && record.sure || g.Proof == host.ProofFile && file.sure
	return c
}

func (p *Permission) record(ctx context.Context, g host.Target) seen {
	name := RecordName(g.Host)
	all, err := p.resolver.LookupTXT(ctx, name+".") // the dot keeps search domains out of it
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return seen{sure: true, why: name + " has no TXT record"}
	case err != nil: // a name server's address is nobody's business
		return seen{why: "the TXT records of " + name + " could not be looked up"}
	}
	for _, text := range all[:min(len(all), maxRecords)] {
		if strings.TrimSpace(text) == g.Token {
			return seen{token: true}
		}
	}
	return seen{sure: true, why: fmt.Sprintf("%s has TXT records, and the token is none of them", name)}
}

func (p *Permission) file(ctx context.Context, g host.Target) seen {
	url := FileURL(g.Host)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return seen{why: url + " cannot be asked for"}
	}
	req.Header.Set("User-Agent", p.cfg.UserAgent)
	resp, err := p.client.Do(req)
	switch {
	case errors.Is(err, host.ErrInvalid):
		return seen{why: url + " leads where this host does not call: only a TXT record or the operator can help"}
	case err != nil: // what exactly is a matter of the network that the host is in
		return seen{why: url + " did not answer, or not over TLS with a certificate that is trusted"}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		gone := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone
		return seen{sure: gone, why: fmt.Sprintf("%s answers %d, and must answer 200; redirects are not followed", url, resp.StatusCode)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFile+1))
	switch {
	case err != nil:
		return seen{why: url + " broke off"}
	case len(body) <= maxFile && strings.TrimSpace(string(body)) == g.Token:
		return seen{token: true}
	}
	return seen{sure: true, why: url + " does not hold the token and nothing else"}
}

// Run checks proofs again until ctx ends.
func (p *Permission) Run(ctx context.Context) error {
	for tick := time.NewTicker(p.cfg.Poll); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		if err := p.again(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("proofs of targets were not checked again: they are later", "error", err)
		}
	}
}

// again checks what is due, some at once, until nothing is.
func (p *Permission) again(ctx context.Context) error {
	for ctx.Err() == nil {
		life, recheck := p.cfg.Times()
		due, err := p.store.DueTargets(ctx, recheck, life, dueAtOnce)
		if err != nil {
			return err
		}
		if err := p.checkAll(ctx, due); err != nil || len(due) < dueAtOnce {
			return err
		}
	}
	return nil
}

func (p *Permission) checkAll(ctx context.Context, due []host.Target) error {
	var group errgroup.Group
	group.SetLimit(p.cfg.AtOnce)
	for _, g := range due {
		group.Go(func() error {
			now, err := p.check(ctx, g)
			if errors.Is(err, host.ErrNotFound) {
				return nil // its tenant removed it meanwhile
			}
			if err == nil && now.Proof == host.ProofNone {
				p.log.Info("a proof of a target ended: its token is not there any more", "tenant", g.TenantID, "target", g.ID)
			}
			return err
		})
	}
	return group.Wait()
}
