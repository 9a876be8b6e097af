package api

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/host"
)

const (
	// maxWaiting is how many requests wait at the same time, and maxWaitingOne how
	// many of one tenant, so that it leaves room to others; beyond it they are
	// answered at once. Each costs a look at the store now and then.
	maxWaiting    = 1000
	maxWaitingOne = maxWaiting / 8
	// firstLook and laterLook are the pauses between these looks.
	firstLook = 50 * time.Millisecond
	laterLook = time.Second
)

// waiting counts the requests that wait for scans, by tenant. It has those that
// have some, and so at most maxWaiting.
type waiting struct {
	mu  sync.Mutex
	all int
	of  map[host.TenantID]int
}

// enter reports whether one more of a tenant's may wait; then leave follows.
func (w *waiting) enter(t host.TenantID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaiting || w.of[t] >= maxWaitingOne {
		return false
	}
	if w.of == nil {
		w.of = map[host.TenantID]int{}
	}
	w.all++
	w.of[t]++
	return true
}

func (w *waiting) leave(t host.TenantID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.of[t]--; w.of[t] == 0 {
		delete(w.of, t)
	}
}

// prefer is the header Prefer.
type prefer string

// Schema documents it. Whatever it says is taken: what is not known is ignored.
func (prefer) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString,
		Description: "wait=N answers when the scan has ended, and after N seconds all the same. It is bounded by the time that a request may take; " +
			"Preference-Applied says what was done of it (RFC 7240).",
		Examples: []any{"wait=10"},
	}
}

// parsePrefer gives the seconds of the preference wait, and whether there is one
// (RFC 7240). What it cannot read is a preference that is not known, and ignored.
func parsePrefer(header string) (seconds int, ok bool) {
	for preference := range strings.SplitSeq(header, ",") {
		token, _, _ := strings.Cut(preference, ";")
		name, value, _ := strings.Cut(token, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		return int(n), err == nil // the first one counts
	}
	return 0, false
}

// await waits for a scan to end, as long as the request prefers and a request
// may take, and gives it as it is then, and what was done of the preference. It
// asks the store, for the scan runs on any host. Errors are the store's.
func (a *API) await(ctx context.Context, s host.Scan, prefer string) (host.Scan, string, error) {
	seconds, ok := parsePrefer(prefer)
	if !ok {
		return s, "", nil
	}
	// What is left of the time is for the rest of the request.
	seconds = min(seconds, int(a.cfg.RequestTimeout*9/10/time.Second))
	applied := "wait=" + strconv.Itoa(seconds)
	if s.State.Final() {
		return s, applied, nil
	}
	if !a.waiting.enter(s.TenantID) {
		return s, "", nil
	}
	defer a.waiting.leave(s.TenantID)
	over := time.NewTimer(time.Duration(seconds) * time.Second)
	defer over.Stop()
	for pause := firstLook; !s.State.Final() && !a.draining.Load(); pause = min(2*pause, laterLook) {
		look := time.NewTimer(pause)
		select {
		case <-over.C:
			look.Stop()
			return s, applied, nil
		case <-ctx.Done():
			look.Stop()
			return s, "", context.Cause(ctx)
		case <-look.C:
		}
		next, err := a.deps.Store.Scan(ctx, s.TenantID, s.ID)
		if err != nil {
			return s, "", err
		}
		s = next
	}
	return s, applied, nil
}
