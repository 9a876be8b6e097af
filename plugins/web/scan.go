package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/temoto/robotstxt"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/egress"
)

// scan is one scan under way. It asks for one thing after the other, so that it
// loads no site more than a visitor who reads fast, and so that two scans of the
// same site ask the same.
type scan struct {
	*fetcher
	cfg      *Config
	opts     *Options
	env      environment
	guard    *egress.Guard
	roots    *x509.CertPool
	rootless bool // the machine has no authorities of its own
	scope    *scope
	out      *sdk.Out

	leaks     []leak
	libraries []library

	start    *page
	pages    []*page         // those that were followed, in order, without their bodies
	origins  []string        // of pages, in order
	seen     map[string]bool // findings, by rule and identity
	ruleHits map[string]int
	targets  []input // parameters that the site takes
	inputs   map[string]bool
	untried  distinct                    // parameters for which there was no room
	robots   map[string]*robotstxt.Group // by origin; nil: everything may be followed
	allowed  int                         // links that robots.txt asks not to follow
	spared   int                         // parameters and directories, likewise

	over  map[kind]*over // what pages have too many of
	long  int            // links with URLs that are too long
	ended int            // pages that end for us before they end
	leaky int            // answers with more text than is searched
	told  []string       // what was not looked at
}

// input is a parameter that some page of the site uses.
type input struct {
	url  *url.URL
	name string
	all  []pair
}

func (env environment) scan(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
	opts := t.Options().(*Options)
	ec, err := c.egress(env.resolver)
	if err != nil {
		return err
	}
	ec.Permitted = t.PermittedHosts()
	guard, err := egress.New(ec)
	if err != nil {
		return err
	}
	target, err := guard.ParseURL(withoutFragment(t.URL()))
	if err != nil {
		return sdk.Refuse(fmt.Errorf("the target is not scanned: %w", err))
	}
	target = resolve(target, target.String())
	if target == nil {
		return sdk.Refuse(errors.New("the target is not scanned: its URL is too long"))
	}
	roots, some, err := c.roots(env.system)
	if err != nil {
		return err
	}
	s := &scan{
		fetcher: newFetcher(guard, c, out), cfg: c, opts: opts, env: env, guard: guard, roots: roots, rootless: !some, out: out,
		leaks: leaks(), libraries: libraries(), seen: map[string]bool{}, ruleHits: map[string]int{}, inputs: map[string]bool{}, robots: map[string]*robotstxt.Group{},
		over: map[kind]*over{},
	}
	s.har.most = env.archive
	defer s.close()
	if s.login, err = newLogin(target, opts); err != nil {
		return sdk.Refuse(err)
	}
	if s.scope, err = newScope(target, opts.Hosts, guard.Permits); err != nil {
		return sdk.Refuse(err)
	}
	timed, cancel := context.WithTimeoutCause(ctx, c.MaxTime, errTime)
	defer cancel()
	if err := s.first(timed, target); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errors.Join(err, s.archive())
	}
	if s.login != nil && origin(s.start.url) != s.login.origin {
		s.missed(fmt.Sprintf("headers and cookies are sent to %s alone, and it leads to %s: scan that one", s.login.origin, origin(s.start.url)))
	}
	undone, err := s.run(timed)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.shortfalls(err, strings.Join(undone, ", "))
	s.grade()
	if err := s.archive(); err != nil {
		s.missed(err.Error())
	}
	return nil
}

func withoutFragment(s string) string {
	before, _, _ := strings.Cut(s, "#")
	return before
}

// run does all that follows the first page. An error is why it ended early, and
// undone what was then not done, or not to its end.
func (s *scan) run(ctx context.Context) (undone []string, err error) {
	type step struct {
		name string
		do   func(context.Context) error
	}
	steps := []step{{"links", s.crawl}, {"TLS", s.checkTLS}, {"https", s.checkUpgrade}, {"CORS", s.checkCORS}}
	if !s.opts.Passive {
		steps = append(steps, step{"parameters", s.keepToRobots}, step{"errors", s.checkErrors}, step{"exposed files", s.checkExposed},
			step{"backups", s.checkBackups}, step{"directories", s.checkListings}, step{"redirects", s.checkRedirects}, step{"reflected input", s.checkReflected})
	}
	steps = append(steps, step{"the first page again", s.checkStill})
	for i, step := range steps {
		if err := step.do(ctx); err != nil {
			for _, left := range steps[i:] {
				undone = append(undone, left.name)
			}
			return undone, err
		}
	}
	return nil, nil
}

// checkStill asks for the first page once more. A site that has turned the scan away
// meanwhile, or ended the session of its login, answered its questions with
// something that looks clean.
func (s *scan) checkStill(ctx context.Context) error {
	ex, err := s.get(ctx, s.start.url)
	if err != nil {
		if stops(ctx, err) {
			return err
		}
		return nil // it is counted
	}
	if ex.status != s.start.status {
		s.missed(fmt.Sprintf("%s answered %d at the beginning of the scan and %d at its end: the site turned the scan away, or its login ended, and answers in between say little", place(ex.url), s.start.status, ex.status))
	}
	return nil
}

// shortfalls says what was not looked at, with what err left undone.
func (s *scan) shortfalls(err error, undone string) {
	switch {
	case err == nil:
	case errors.Is(err, errTime):
		s.missed(fmt.Sprintf("the scan took longer than max_time, %s: not looked at, or not whole: %s", s.cfg.MaxTime, undone))
	case errors.Is(err, errBudget):
		s.missed(fmt.Sprintf("the scan needs more than max_requests, %d: not looked at, or not whole: %s", s.cfg.MaxRequests, undone))
	case errors.Is(err, errGone):
		s.missed(fmt.Sprintf("the site stopped answering, %d requests failed one after the other: not looked at, or not whole: %s", maxFailures, undone))
	default:
		s.missed(err.Error())
	}
	if s.failures > 0 {
		s.missed(fmt.Sprintf("%d of %d requests failed", s.failures, s.done))
	}
	if s.refused > 0 {
		s.missed(fmt.Sprintf("%d of %d requests led to addresses or ports that may not be scanned", s.refused, s.done))
	}
	if s.slowed > 0 {
		s.missed(fmt.Sprintf("%d requests were answered 429 or 503: the site wants fewer of them, see requests_per_second", s.slowed))
	}
	if s.encoded > 0 {
		s.missed(fmt.Sprintf("%d answers came in an encoding that was not asked for (Content-Encoding): what is in them was not looked at", s.encoded))
	}
	if s.cut > 0 {
		s.missed(fmt.Sprintf("%d answers are larger than max_body, %s: only the beginning was looked at", s.cut, s.cfg.MaxBody))
	}
	s.bounds()
	if s.allowed > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d links were not followed because robots.txt asks so", s.allowed)})
	}
	if s.spared > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("%d parameters and directories were not tried because robots.txt asks so", s.spared)})
	}
}

func (s *scan) archive() error {
	err := s.out.Artifact("requests.har", "application/json", s.har.write)
	if err != nil {
		return fmt.Errorf("the requests are not kept: %w", err)
	}
	return nil
}

// found is a finding before it is reported.
type found struct {
	message    string
	key        string // what tells it from others of its rule at its place
	excerpt    string // of the body
	everywhere bool   // it is of the whole origin, wherever it was seen first
	severity   sdk.Severity
	confidence sdk.Confidence
	properties map[string]string
}

// report reports a finding once, with the exchange that proves it. Its place is
// the URL without its query, which the host takes into its identity.
func (s *scan) report(rule string, ex *exchange, f found) {
	url := place(ex.url)
	if f.everywhere {
		url = origin(ex.url) + "/"
	}
	id := strings.Join([]string{rule, url, f.key}, "\x00")
	if s.seen[id] {
		return
	}
	s.seen[id] = true
	s.ruleHits[rule]++
	if f.confidence == 0 {
		f.confidence = sdk.ConfidenceHigh
	}
	props := map[string]string{"method": ex.method, "url": redactURL(ex.url)}
	if ex.status > 0 {
		props["status"] = fmt.Sprint(ex.status)
	}
	for k, v := range f.properties {
		props[k] = v
	}
	s.out.Finding(rule, sdk.Finding{
		Message: f.message, Severity: f.severity, Confidence: f.confidence,
		At: sdk.Location{URL: url}, Snippet: evidence(ex, f.excerpt), Identity: []string{f.key}, Properties: props,
	})
}

// Bounds of an evidence, which has 2 KiB in all.
const (
	maxHead    = 1200
	maxLine    = 300
	maxExcerpt = 500
)

// evidence is the request and its answer, redacted, without what differs from
// answer to answer.
func evidence(ex *exchange, excerpt string) string {
	var b strings.Builder
	target := redactURL(ex.url)
	target = strings.TrimPrefix(target, origin(ex.url))
	fmt.Fprintf(&b, "%s %s HTTP/1.1\nHost: %s\n", ex.method, cutText(target, maxLine), ex.url.Host)
	if o := ex.sent.Get("Origin"); o != "" {
		fmt.Fprintf(&b, "Origin: %s\n", o)
	}
	fmt.Fprintf(&b, "\n%s %d\n", ex.proto, ex.status)
	shownHeaders(&b, ex.header)
	if excerpt != "" {
		b.WriteString("\n" + cutText(redactText(excerpt), maxExcerpt))
	}
	return b.String()
}

// shownHeaders writes headers as far as there is room. Values are cut before they
// are redacted, which takes long, and once more after.
func shownHeaders(b *strings.Builder, header http.Header) {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if slices.Contains([]string{"Date", "Age", "Content-Length", "Etag", "Expires", "Last-Modified"}, name) {
			continue
		}
		for _, v := range header[name] {
			line := name + ": " + cutText(redactHeader(name, cutText(v, 4*maxLine)), maxLine) + "\n"
			if b.Len()+len(line) > maxHead {
				b.WriteString("...\n")
				return
			}
			b.WriteString(line)
		}
	}
}

// around is the text of a body about a place in it.
func around(body []byte, from, to int) string {
	const before, after = 100, 200
	return strings.ToValidUTF8(string(body[max(0, from-before):min(len(body), to+after)]), "")
}
