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
// polls can still cancel. The last counts those of an address that carry no good
// key: what comes from a shared address with good keys is nobody else's business.
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
	// that carry no good key. Zero: any number.
	AddressRate host.Rate
	Proxies     Proxies
}

// SetLimits changes them, from the next request on.
func (a *API) SetLimits(l Limits) { a.limits.Store(&l) }

// admit finds out who asks, and whether they may now. What it is told of the
// limits is in the header of w, whatever comes of the request. Operators have no
// rate: who has to step in must not wait.
//
// A key that may be one is never refused for what others at its address do: it
// waits for its turn in the lane, and only if it is not good the address counts.
func (a *API) admit(w http.ResponseWriter, r *http.Request, op *huma.Operation) error {
	rec := recordOf(r.Context())
	good, err := a.recognise(r, op)
	if err != nil {
		return fmt.Errorf("look up a key: %w", err)
	}
	if !good {
		if err := a.limitAddress(w, r); err != nil {
			return err
		}
		return a.refuse(w, r, op, rec, badKey(op))
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

// recognise reports whether a request carries a key that is good, or was when
// this host last looked it up. What cannot be a key, by its checksum, costs
// nothing; what can be, and is new here, a place in the lane.
func (a *API) recognise(r *http.Request, op *huma.Operation) (bool, error) {
	secret, _ := secretOf(r.Header)
	parse, knows := apikey.Parse, a.keys.knows
	if op.Metadata[forOperators] != nil {
		parse, knows = apikey.ParseOperator, a.operators.has
	}
	hash, ok := parse(secret)
	if !ok || knows(hash) {
		return ok, nil
	}
	return a.strangers.good(r.Context(), addressOfClient(r), hash)
}

// addressOfClient is whom a request is counted with, "" if it did not come over a
// network.
func addressOfClient(r *http.Request) string {
	client := recordOf(r.Context()).client
	if !client.IsValid() {
		return ""
	}
	return neighbours(client)
}

// badKey is why a request is refused whose key is not good.
func badKey(op *huma.Operation) error {
	if op.Metadata[forOperators] != nil {
		return noOperator()
	}
	return host.ErrUnauthorized
}

// limitAddress counts a request by where it comes from.
func (a *API) limitAddress(w http.ResponseWriter, r *http.Request) error {
	from := addressOfClient(r)
	if from == "" {
		return nil
	}
	return a.limit(w, r, policyAddress, from, a.limits.Load().AddressRate)
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
// forgotten, and their next requests wait for a turn.
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
