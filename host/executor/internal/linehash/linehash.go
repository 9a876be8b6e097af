// Package linehash computes primaryLocationLineHash, by which GitHub knows a
// finding again when the lines above it change. It is the algorithm of
// src/fingerprints.ts in github/codeql-action, so that GitHub, which computes it
// for logs that lack it, and we say the same.
package linehash

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	window = 100 // UTF-16 units from the start of a line that count
	factor = 37
	end    = 0xffff // a unit after the text
)

// Of gives the hashes of the lines of a text that are asked for, which count
// from 1. A line that the text does not have is left out.
//
// Spaces and tabs do not count, and every line break is one LF. A hash is
// followed by how often it has come in this text so far, from 1.
func Of(text []byte, lines map[int]bool) map[int]string {
	h := hasher{lines: lines, out: map[int]string{}, counts: map[uint64]int{}}
	for i := range h.starts {
		h.starts[i] = -1
	}
	h.drop = 1
	for range window {
		h.drop *= factor
	}
	h.fresh = true
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r < 0x10000 {
			h.unit(uint64(r))
			continue
		}
		high, low := utf16.EncodeRune(r)
		h.unit(uint64(high))
		h.unit(uint64(low))
	}
	h.unit(end)
	for range window {
		h.emit()
		h.push(0)
	}
	return h.out
}

// hasher rolls a hash over the last window units. starts says which line began
// at a unit of the window: when the window has moved over it, the hash is that
// line's.
type hasher struct {
	units  [window]uint64
	starts [window]int // -1: no line began here
	at     int
	hash   uint64
	drop   uint64 // factor to the power of window
	line   int
	fresh  bool // the next unit begins a line
	cr     bool // the last unit was a CR
	lines  map[int]bool
	counts map[uint64]int
	out    map[int]string
}

func (h *hasher) unit(c uint64) {
	after := h.cr
	h.cr = false
	switch {
	case c == ' ' || c == '\t' || after && c == '\n':
		return
	case c == '\r':
		c, h.cr = '\n', true
	}
	h.emit()
	if h.fresh {
		h.fresh = false
		h.line++
		h.starts[h.at] = h.line
	}
	h.fresh = c == '\n'
	h.push(c)
}

func (h *hasher) emit() {
	line := h.starts[h.at]
	if line < 0 {
		return
	}
	h.starts[h.at] = -1
	h.counts[h.hash]++
	if h.lines[line] {
		h.out[line] = strconv.FormatUint(h.hash, 16) + ":" + strconv.Itoa(h.counts[h.hash])
	}
}

func (h *hasher) push(c uint64) {
	h.hash = h.hash*factor + c - h.drop*h.units[h.at]
	h.units[h.at] = c
	h.at = (h.at + 1) % window
}
