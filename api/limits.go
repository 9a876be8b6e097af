package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/apikey"
)

// The policies that limit requests, by the names that clients and operators see.
// The first three count a tenant's requests, each by itself, so that one that
// polls can still cancel. The last counts those of an address that say nothing
// of whose they are, or carry a key that this host has not seen to be good: what
// comes from a shared address with good keys is nobody else's business.
const (
	policyRead    = "read"    // host.Plan.RequestRate
	policyWrite   = "write"   // the same, of what changes something
	policyUpload  = "upload"  // host.Plan.UploadRate
	policyAddress = "address" // Limits.AddressRate
)

// creates marks an operation that creates scans.
const creates = "creates"

// Limits is what holds before it is known whose a request is.
type Limits struct {
	// AddressRate is that of the requests of one address, or of one /64 of IPv6,
	// that carry no key which this host has seen to be good. Zero: any number.
	AddressRate host.Rate
	Proxies     Proxies
}

// SetLimits changes them, from the next request on.
func (a *API) SetLimits(l Limits) { a.limits.Store(&l) }

// admit finds out who asks, and whether they may now. What it is told of the
// limits is in the header of w, whatever comes of the request. Operators have no
// rate: who has to step in must not wait.
func (a *API) admit(w http.ResponseWriter, r *http.Request, op *huma.Operation) error {
	rec := recordOf(r.Context())
	if !a.familiar(r, op) {
		if err := a.limitAddress(w, r); err != nil {
			return err
		}
	}
	if err := a.identify(r.Context(), r, op, rec); err != nil {
		return a.refuse(w, r, op, rec, err)
	}
	if rec.operator != "" {
		return nil
	}
	policy, rate := policyWrite, rec.plan.RequestRate
	switch {
	case op.Metadata[creates] != nil:
		policy, rate = policyUpload, rec.plan.UploadRate
	case op.Method == http.MethodGet:
		policy = policyRead
	}
	if err := a.limit(w, r, policy, string(rec.tenant), rate); err != nil {
		return err
	}
	return rec.denied
}

// familiar reports whether this host has seen the request's key to be good, now
// or before.
func (a *API) familiar(r *http.Request, op *huma.Operation) bool {
	secret, _ := secretOf(r.Header)
	if op.Metadata[forOperators] != nil {
		hash, ok := apikey.ParseOperator(secret)
		return ok && a.operators.has(hash)
	}
	hash, ok := apikey.Parse(secret)
	return ok && a.keys.knows(hash)
}

// limitAddress counts a request by where it comes from.
func (a *API) limitAddress(w http.ResponseWriter, r *http.Request) error {
	client := recordOf(r.Context()).client
	if !client.IsValid() {
		return nil // not over a network
	}
	return a.limit(w, r, policyAddress, neighbours(client), a.limits.Load().AddressRate)
}

// limit counts a request by a policy, says in the header how that stands, and
// refuses it when it is over.
func (a *API) limit(w http.ResponseWriter, r *http.Request, policy, of string, rate host.Rate) error {
	if a.deps.Limiter == nil || rate.Unlimited() {
		return nil
	}
	answers, err := a.deps.Limiter.Take(r.Context(), []host.RateAsk{{Key: policy + ":" + of, Rate: rate}})
	if err != nil {
		return fmt.Errorf("count a request by policy %s: %w", policy, err)
	}
	said := answers[0]
	next := int64(math.Ceil(said.Next.Seconds()))
	window := ""
	if rate.Per%time.Second == 0 {
		window = ";w=" + strconv.FormatInt(int64(rate.Per/time.Second), 10)
	}
	h := w.Header()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d%s`, policy, rate.Count, window))
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, policy, said.Left, next))
	if said.OK {
		return nil
	}
	a.deps.Meter.RateLimited(policy)
	whom := "tenant"
	if policy == policyAddress || policy == policyRefused {
		whom = "address"
	}
	p := &problemError{
		Problem: kindRateLimited().problem(fmt.Sprintf("The policy %q allows each %s %s, and this one is over that. Try again in %s.",
			policy, whom, rateInWords(rate), count(next, "second"))),
		header: http.Header{"Retry-After": {strconv.FormatInt(next, 10)}},
	}
	p.Violated = []string{policy}
	return p
}

// rateInWords is "5 requests a minute".
func rateInWords(r host.Rate) string {
	per := "in " + r.Per.String()
	switch r.Per {
	case time.Second:
		per = "a second"
	case time.Minute:
		per = "a minute"
	case time.Hour:
		per = "an hour"
	case 24 * time.Hour:
		per = "a day"
	}
	if strings.HasSuffix(per, "m0s") {
		per = strings.TrimSuffix(per, "0s")
	}
	return count(int64(r.Count), "request") + " " + per
}

func count(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.FormatInt(n, 10) + " " + what
}

// maxOperators bounds the operators' keys that are remembered; beyond it all are
// forgotten, and their next requests count by address.
const maxOperators = 1000

// hashes is a bounded set of keys that were good the last time.
type hashes struct {
	mu  sync.Mutex
	all map[[32]byte]struct{}
}

func (h *hashes) has(hash [32]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.all[hash]
	return ok
}

// note keeps or forgets one.
func (h *hashes) note(hash [32]byte, good bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !good:
		delete(h.all, hash)
		return
	case h.all == nil || len(h.all) >= maxOperators:
		h.all = map[[32]byte]struct{}{}
	}
	h.all[hash] = struct{}{}
}
