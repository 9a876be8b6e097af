package main

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/securetaghq/securetag/sdk"
)

// What a scan does not look at it says, each bound once and with the number of
// what was left: what is behind a bound may be as it was, and a scan that did not
// look there has not seen it mended. So all that is missed makes the scan partial.

// toldAtOnce is how many reasons are the result's own: the kit keeps five, and the
// last says where the others are.
const toldAtOnce = 4

// missed says what was not looked at.
func (s *scan) missed(what string) {
	if slices.Contains(s.told, what) {
		return
	}
	if s.told = append(s.told, what); len(s.told) <= toldAtOnce {
		s.out.Partial(what)
		return
	}
	s.out.Partial("more was not looked at, as the notes say")
	s.out.Note(sdk.Note{Level: sdk.Warning, Summary: what})
}

// kind is what a page may have so many of.
type kind struct {
	what string
	most int
}

// over is what of a kind was left out, on all pages.
type over struct {
	pages, left int
	first       string
}

// leave counts what is not looked at of the page because it has too many.
func (p *page) leave(what string, most, n int) {
	if n <= 0 {
		return
	}
	if p.left == nil {
		p.left = map[kind]int{}
	}
	p.left[kind{what, most}] += n
}

// gather adds up what was left out of the pages.
func (s *scan) gather(p *page) {
	for k, n := range p.left {
		o := s.over[k]
		if o == nil {
			o = &over{first: place(p.url)}
			s.over[k] = o
		}
		o.pages++
		o.left += n
	}
	p.left = nil
	s.long += p.long
	if p.ended {
		s.ended++
	}
}

// bounds says what was left out of pages and answers.
func (s *scan) bounds() {
	for _, k := range slices.SortedFunc(maps.Keys(s.over), func(a, b kind) int { return cmp.Compare(a.what, b.what) }) {
		o := s.over[k]
		s.missed(fmt.Sprintf("%d pages have more than %d %s: %d of these were not looked at, the first of %.100s", o.pages, k.most, k.what, o.left, o.first))
	}
	if s.long > 0 {
		s.missed(fmt.Sprintf("%d links, scripts and the like have URLs longer than %d bytes: they were not looked at", s.long, maxURL))
	}
	if s.ended > 0 {
		s.missed(fmt.Sprintf("%d pages have a tag or a text of more than %s in one piece: what is behind it was not looked at", s.ended, sdk.Bytes(maxToken)))
	}
	if s.leaky > 0 {
		s.missed(fmt.Sprintf("%d answers have more than %s of text: what it tells of the inside was looked for in the beginning only", s.leaky, sdk.Bytes(maxLeakText)))
	}
	if s.har.left > 0 {
		s.out.Note(sdk.Note{Summary: fmt.Sprintf("requests.har has %s, which is all that it takes: of %d answers headers or bodies are left out", sdk.Bytes(cmp.Or(s.har.most, maxHARTotal)), s.har.left)})
	}
}

// probes are the places of one kind that are asked for, each once and not more of
// them than max_probes.
type probes struct {
	most  int
	tried map[string]bool
	left  distinct
}

func (s *scan) probes() *probes { return &probes{most: s.cfg.MaxProbes, tried: map[string]bool{}} }

// take reports whether a place is to be asked for now.
func (p *probes) take(place string) bool {
	if p.tried[place] {
		return false
	}
	if len(p.tried) >= p.most {
		p.left.add(place)
		return false
	}
	p.tried[place] = true
	return true
}

// distinct counts what is different, without keeping it.
type distinct struct {
	seed maphash.Seed
	seen map[uint64]bool
	full bool
}

// maxDistinct bounds the memory of a count.
const maxDistinct = 20_000

func (d *distinct) add(key string) {
	if d.seen == nil {
		d.seed, d.seen = maphash.MakeSeed(), map[uint64]bool{}
	}
	switch h := maphash.String(d.seed, key); {
	case d.seen[h]:
	case len(d.seen) < maxDistinct:
		d.seen[h] = true
	default:
		d.full = true
	}
}

func (d *distinct) none() bool { return len(d.seen) == 0 }

func (d *distinct) String() string {
	if d.full {
		return fmt.Sprintf("more than %d", maxDistinct)
	}
	return fmt.Sprint(len(d.seen))
}
