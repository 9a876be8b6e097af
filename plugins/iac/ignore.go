package main

import (
	"bytes"
	"path"
	"strings"
	"time"
)

// ignore is a comment "trivy:ignore:DS-0002" with which a Dockerfile waives what
// a check finds on this line or the next. It is shown, and decides nothing.
type ignore struct {
	at      int // the line it is on
	line    int // the line it counts as: of comments one under another, the last
	first   bool
	id      string // may have "*"
	expires time.Time
	dated   bool
}

// readIgnores finds them as Trivy does, which does not ask whether it is in a
// comment.
func readIgnores(text []byte) []ignore {
	var all []ignore
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if !bytes.Contains(line, []byte("trivy:")) && !bytes.Contains(line, []byte("tfsec:")) {
			continue
		}
		first := true
		for i, word := range strings.Fields(string(line)) {
			word = strings.TrimLeft(word, "#/*")
			ig, ok := readIgnore(word)
			if !ok {
				first = first && word == ""
				continue
			}
			ig.at, ig.line, ig.first = n, n, first || i == 0
			all = append(all, ig)
		}
	}
	for i := len(all) - 2; i >= 0; i-- {
		if all[i].first && all[i+1].at-all[i].at <= 1 {
			all[i].line = all[i+1].line
		}
	}
	return all
}

// readIgnore reads "trivy:ignore:ID:exp:2027-01-31".
func readIgnore(word string) (ig ignore, ok bool) {
	rest, isTrivy := strings.CutPrefix(word, "trivy:")
	if !isTrivy {
		if rest, ok = strings.CutPrefix(word, "tfsec:"); !ok {
			return ig, false
		}
	}
	fields := strings.Split(rest, ":")
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "ignore":
			ig.id, _, _ = strings.Cut(fields[i+1], "[")
		case "exp":
			ig.dated = true
			ig.expires, _ = time.Parse(time.DateOnly, fields[i+1]) // what is no date has expired
		}
	}
	return ig, ig.id != ""
}

// waived reports whether a comment waives the problem.
func waived(all []ignore, p problem, now time.Time) bool {
	for _, ig := range all {
		if p.from > 0 && (p.from == ig.line || p.from == ig.line+1) && ig.fits(p.check) && (!ig.dated || now.Before(ig.expires)) {
			return true
		}
	}
	return false
}

func (ig ignore) fits(k *check) bool {
	pattern := strings.ToLower(strings.NewReplacer(`\`, `\\`, "?", `\?`, "[", `\[`).Replace(ig.id))
	for _, name := range append([]string{k.id}, k.aliases...) {
		if ok, err := path.Match(pattern, strings.ToLower(name)); ok && err == nil {
			return true
		}
	}
	return false
}
