package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
)

// What servers write above a listing of their own making, and a link in it: one
// of them alone may be an article about the other.
var (
	listingTitle = regexp.MustCompile(`(?i)<title>\s*(?:Index of /|Directory listing for \[?/|Listing directory /|Directory: /)|<h[12]>\s*(?:Index of /|Directory listing for \[?/)|<pre><a href="[^"]*">\[To Parent Directory\]</a>`)
	listingLink  = regexp.MustCompile(`(?i)<a href="(?:\.\./|\?C=[A-Z][;&]|[^"?#:]+)"[^>]*>`)
	bareListing  = regexp.MustCompile(`^(?:<!doctype html>\s*<meta name="viewport"[^>]*>\s*)?<pre>\s*<a href="[^"]+">`) // Go's file server
)

func isListing(body []byte) bool {
	return listingTitle.Match(body) && listingLink.Match(body) || bareListing.Match(bytes.TrimSpace(body))
}

func (s *scan) checkListing(p *page) {
	if p.html && p.status < 300 && strings.HasSuffix(p.url.Path, "/") && isListing(p.body) {
		s.report("directory-listing", p.exchange, found{
			message: "The server lists the files of this directory to everybody.", excerpt: excerptOf(p.body, listingLink),
		})
	}
}

func excerptOf(body []byte, re *regexp.Regexp) string {
	at := re.FindIndex(body)
	if at == nil {
		return ""
	}
	return around(body, at[0], at[1])
}

// checkListings asks for the directories in which the pages are.
func (s *scan) checkListings(ctx context.Context) error {
	dirs, asked := s.probes(), 0
	visited := map[string]bool{}
	for _, p := range s.pages {
		visited[place(p.url)] = true
	}
	for _, p := range s.pages {
		all := append([]string{}, dir(p.url))
		for _, r := range p.resources {
			if s.scope.has(r.url) && origin(r.url) == origin(p.url) {
				all = append(all, dir(r.url))
			}
		}
		for _, d := range all {
			u := at(p.url, d)
			if visited[place(u)] || !dirs.take(place(u)) {
				continue
			}
			if ok, err := s.mayFollow(ctx, u); err != nil {
				return err
			} else if !ok {
				s.spared++
				continue
			}
			asked++
			ex, err := s.get(ctx, u)
			if err != nil {
				if stops(ctx, err) {
					return err
				}
				continue
			}
			s.checkListing(newPage(ex, 0))
		}
	}
	if !dirs.left.none() {
		s.missed(fmt.Sprintf("%d directories were asked for, and %s more were not (max_probes)", asked, &dirs.left))
	}
	return nil
}
