package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/temoto/robotstxt"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/egress"
)

const (
	maxHops   = 5 // redirects of the first page
	maxRobots = 512 << 10
	maxQueue  = 20_000
)

// first asks for the target and follows it to the first page. Every error is one
// of the scan: a site that was not seen has no findings and is not clean.
func (s *scan) first(ctx context.Context, target *url.URL) error {
	u := target
	for range maxHops + 1 {
		ex, err := s.get(ctx, u)
		if err != nil {
			return unreachable(u, err)
		}
		s.visited(newPage(ex, 0))
		if ex.status == http.StatusTooManyRequests || ex.status >= 500 {
			return sdk.Retryable(fmt.Errorf("%s answers %d %s: there is nothing to look at", place(u), ex.status, http.StatusText(ex.status)))
		}
		to := resolve(u, ex.header.Get("Location"))
		if ex.status < 300 || ex.status >= 400 || ex.header.Get("Location") == "" {
			s.start = s.pages[len(s.pages)-1]
			switch {
			case ex.status >= 300 && ex.status < 400:
				s.missed(fmt.Sprintf("%s answers %d %s and does not say where to: there was no page to look at", place(u), ex.status, http.StatusText(ex.status)))
			case ex.status >= 400:
				s.missed(fmt.Sprintf("%s answers %d %s: only what everybody may see was looked at", place(u), ex.status, http.StatusText(ex.status)))
			}
			return nil
		}
		if to == nil || !s.scope.has(to) && !s.scope.adopt(u, to) {
			return fmt.Errorf("%s redirects to %.200s, which is another site: scan that one, or name its host in the option hosts", place(u), redactHeader("Location", ex.header.Get("Location")))
		}
		u = to
	}
	return fmt.Errorf("%s redirects more than %d times", place(target), maxHops)
}

func unreachable(u *url.URL, err error) error {
	err = fmt.Errorf("ask for %s: %w", place(u), err)
	if errors.Is(err, egress.ErrRefused) {
		return sdk.Refuse(err)
	}
	return sdk.Retryable(err)
}

// link is one that waits to be followed.
type link struct {
	url   *url.URL
	depth int
}

// crawl follows the links of the site, breadth first.
func (s *scan) crawl(ctx context.Context) error {
	q := &queue{seen: map[string]bool{}, most: cmp.Or(s.env.queue, maxQueue)}
	for _, p := range s.pages {
		q.seen[p.url.String()] = true
	}
	for _, p := range s.pages {
		s.follow(q, p)
	}
	maxPages, maxDepth := least(s.cfg.MaxPages, s.opts.MaxPages), least(s.cfg.MaxDepth, s.opts.MaxDepth)
	deep, refused := 0, []string(nil)
	for ; len(q.links) > 0; q.links = q.links[1:] {
		l := q.links[0]
		if l.depth > maxDepth {
			deep++
			continue
		}
		ok, err := s.mayFollow(ctx, l.url)
		if err != nil {
			return err
		}
		if !ok {
			s.allowed++
			continue
		}
		if len(s.pages) >= maxPages {
			s.missed(fmt.Sprintf("the site has more than %d pages (max_pages): %d links were not followed", maxPages, len(q.links)))
			break
		}
		ex, err := s.get(ctx, l.url)
		switch {
		case err == nil:
			s.follow(q, s.visited(newPage(ex, l.depth)))
		case errors.Is(err, egress.ErrRefused):
			// A few show what it is about; all of them would be all the notes that are kept.
			if why := err.Error(); len(refused) < 5 && !slices.Contains(refused, why) {
				refused = append(refused, why)
				s.out.Note(sdk.Note{Level: sdk.Warning, Summary: "a link was not followed: " + why})
			}
		case stops(ctx, err):
			return err
		}
	}
	if deep > 0 {
		s.missed(fmt.Sprintf("%d pages are more than %d links from the first one (max_depth): they were not looked at", deep, maxDepth))
	}
	if !q.left.none() {
		s.missed(fmt.Sprintf("the site has more than %d links: %s more were not followed", q.most, &q.left))
	}
	return nil
}

// stops reports whether an error ends the scan and not only one request.
func stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, errBudget) || errors.Is(err, errGone) || errors.Is(err, errTime)
}

func least(operators, clients int) int {
	if clients == 0 {
		return operators
	}
	return min(operators, clients)
}

type queue struct {
	links []link
	seen  map[string]bool
	most  int
	left  distinct // for which there was no room
}

// follow queues the links and scripts of a page that belong to the site, and
// remembers what parameters they have.
func (s *scan) follow(q *queue, p *page) {
	add := func(u *url.URL) {
		key := u.String()
		switch {
		case !s.scope.has(u) || q.seen[key] || media(u):
		case len(q.seen) >= q.most:
			q.left.add(key)
		default:
			q.seen[key] = true
			q.links = append(q.links, link{u, p.depth + 1})
		}
	}
	for _, u := range p.links {
		s.takes(p, u)
		add(u)
	}
	for _, r := range p.resources {
		if r.tag == "script" {
			add(r.url)
		}
	}
	for _, f := range p.forms {
		if f.method != "get" || f.password || !s.scope.has(f.action) {
			continue
		}
		u := *f.action
		var all []string
		for _, in := range f.fields {
			all = append(all, url.QueryEscape(in.name)+"="+url.QueryEscape(in.value))
		}
		u.RawQuery = strings.Join(all, "&")
		s.takes(p, &u)
	}
	s.gather(p)
	p.links, p.forms = nil, nil // of all pages they would be most of the memory
}

// takes remembers the parameters of a URL on a page, each place and name once.
func (s *scan) takes(on *page, u *url.URL) {
	if u.RawQuery == "" || !s.scope.has(u) {
		return
	}
	all, left := readPairs(u.RawQuery)
	on.leave("parameters in a link or form", maxPairs, left)
	for _, p := range all {
		key := place(u) + "\x00" + p.name
		if p.name == "" || s.inputs[key] {
			continue
		}
		if len(s.targets) >= s.cfg.MaxProbes {
			s.untried.add(key)
			continue
		}
		s.inputs[key] = true
		s.targets = append(s.targets, input{u, p.name, all})
	}
}

// media reports whether a path is of a file without links and text.
func media(u *url.URL) bool {
	const kinds = " .png .jpg .jpeg .gif .webp .avif .ico .svg .bmp .css .woff .woff2 .ttf .otf .eot .mp3 .mp4 .webm .ogg .wav .avi .mov .pdf .zip .gz .tgz .bz2 .xz .7z .rar .iso .dmg .exe .msi .apk .doc .docx .xls .xlsx .ppt .pptx .wasm "
	ext := strings.ToLower(path.Ext(u.Path))
	return ext != "" && strings.Contains(kinds, " "+ext+" ")
}

// visited runs what looks at each page as it comes, and keeps it without its body.
func (s *scan) visited(p *page) *page {
	s.passive(p)
	if o := origin(p.url); !slices.Contains(s.origins, o) {
		s.origins = append(s.origins, o)
	}
	kept := *p
	bare := *p.exchange
	bare.body = nil
	kept.exchange = &bare
	s.pages = append(s.pages, &kept)
	return &kept
}

// passive are the checks that ask for nothing.
func (s *scan) passive(p *page) {
	s.checkHeaders(p)
	s.checkCSP(p)
	s.checkCookies(p)
	s.checkMixed(p)
	s.checkForms(p)
	s.checkLeaks(p.exchange)
	s.checkLibraries(p)
	s.checkListing(p)
}

// mayFollow asks the robots.txt of the origin, which is read once.
func (s *scan) mayFollow(ctx context.Context, u *url.URL) (bool, error) {
	if s.cfg.IgnoreRobots {
		return true, nil
	}
	o := origin(u)
	group, ok := s.robots[o]
	if !ok {
		var err error
		if group, err = s.readRobots(ctx, u); err != nil {
			return false, err
		}
		s.robots[o] = group
	}
	path := u.EscapedPath()
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return group == nil || group.Test(path), nil
}

// readRobots reads the robots.txt of an origin as RFC 9309 has it: redirects of it are
// followed; no file is no rule; and a server that fails, or does not answer, has asked
// for nothing to be followed.
func (s *scan) readRobots(ctx context.Context, u *url.URL) (*robotstxt.Group, error) {
	u = at(u, "/robots.txt")
	for range maxHops + 1 {
		status, body, answers := http.StatusServiceUnavailable, []byte(nil), "does not answer"
		ex, err := s.getSome(ctx, u, maxRobots)
		switch {
		case err != nil && stops(ctx, err):
			return nil, err
		case errors.Is(err, egress.ErrRefused):
			return nil, nil // neither is what it would be about
		case err == nil:
			status, body, answers = ex.status, ex.body, fmt.Sprintf("answers %d", ex.status)
			if ex.cut {
				s.out.Note(sdk.Note{Level: sdk.Warning, Summary: fmt.Sprintf("%s is larger than %s: what stands behind that was not heeded", place(ex.url), sdk.Bytes(maxRobots))})
			}
			if to := resolve(u, ex.header.Get("Location")); status >= 300 && status < 400 && ex.header.Get("Location") != "" && to != nil && s.scope.has(to) {
				u = to
				continue
			}
		}
		if status >= 500 {
			s.missed(fmt.Sprintf("%s %s, so that no links were followed", place(u), answers))
			status, body = http.StatusOK, []byte("User-agent: *\nDisallow: /\n") // a group of the library's does not know it by the status
		}
		data, err := robotstxt.FromStatusAndBytes(status, body)
		if err != nil {
			return nil, nil //nolint:nilerr // it is no such file
		}
		return data.FindGroup(agentName(s.cfg.UserAgent)), nil
	}
	return nil, nil
}

// keepToRobots takes out the parameters of places that robots are not to follow:
// values of the scan's own have no more business there.
func (s *scan) keepToRobots(ctx context.Context) error {
	var kept []input
	for _, in := range s.targets {
		ok, err := s.mayFollow(ctx, in.url)
		if err != nil {
			return err
		}
		if ok {
			kept = append(kept, in)
		} else {
			s.spared++
		}
	}
	s.targets = kept
	if !s.untried.none() {
		s.missed(fmt.Sprintf("%d parameters were given values, and %s more were not (max_probes)", len(s.targets), &s.untried))
	}
	return nil
}

// agentName is what a User-agent line in robots.txt names: the product without
// its version.
func agentName(agent string) string {
	name, _, _ := strings.Cut(agent, "/")
	return name
}
