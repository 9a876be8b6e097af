package main

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxHARBody  = 16 << 10 // of one answer
	maxHARTotal = 8 << 20  // of all, with the headers of answers
)

// har keeps the exchanges of a scan as an HTTP Archive 1.2, which browsers'
// developer tools open. What is kept is redacted.
type har struct {
	entries []harEntry
	most    int // bytes; 0: maxHARTotal
	size    int
	left    int // entries that are not whole, because it is full
}

type harEntry struct {
	Started  string      `json:"startedDateTime"`
	Time     float64     `json:"time"`
	Request  harRequest  `json:"request"`
	Response harResponse `json:"response"`
	Cache    struct{}    `json:"cache"`
	Timings  harTimings  `json:"timings"`
}

type harRequest struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	Version     string    `json:"httpVersion"`
	Cookies     []harPair `json:"cookies"`
	Headers     []harPair `json:"headers"`
	Query       []harPair `json:"queryString"`
	HeadersSize int       `json:"headersSize"`
	BodySize    int       `json:"bodySize"`
}

type harResponse struct {
	Status      int        `json:"status"`
	StatusText  string     `json:"statusText"`
	Version     string     `json:"httpVersion"`
	Cookies     []harPair  `json:"cookies"`
	Headers     []harPair  `json:"headers"`
	Content     harContent `json:"content"`
	RedirectURL string     `json:"redirectURL"`
	HeadersSize int        `json:"headersSize"`
	BodySize    int        `json:"bodySize"`
}

type harContent struct {
	Size     int    `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Comment  string `json:"comment,omitempty"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type harTimings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

func (h *har) add(ex *exchange) {
	ms := float64(ex.took.Microseconds()) / 1000
	e := harEntry{
		Started: ex.started.UTC().Format(time.RFC3339Nano), Time: ms, Timings: harTimings{Wait: ms},
		Request: harRequest{
			Method: ex.method, URL: redactURL(ex.url), Version: ex.proto, Cookies: []harPair{}, Headers: harHeaders(ex.sent),
			Query: []harPair{}, HeadersSize: -1,
		},
		Response: harResponse{
			Status: ex.status, StatusText: http.StatusText(ex.status), Version: ex.proto, Cookies: []harPair{}, Headers: []harPair{},
			Content:     harContent{Size: len(ex.body), MimeType: ex.header.Get("Content-Type")},
			HeadersSize: -1, BodySize: -1,
		},
	}
	// A site that sends as many headers as it may with every answer would else take
	// all of the memory.
	full := h.full() && len(ex.header) > 0
	if !h.full() {
		e.Response.Headers = harHeaders(ex.header)
		e.Response.RedirectURL = redactHeader("Location", ex.header.Get("Location"))
	}
	for _, p := range e.Response.Headers {
		h.size += len(p.Name) + len(p.Value)
	}
	for _, p := range pairs(ex.url.RawQuery) {
		e.Request.Query = append(e.Request.Query, harPair{p.name, redactParam(p.name, p.value)})
	}
	switch {
	case ex.sealed:
		e.Response.Content.Comment = "left out: it may hold secrets"
	case !utf8.Valid(ex.body):
		e.Response.Content.Comment = "binary, left out"
	case h.full() && len(ex.body) > 0:
		e.Response.Content.Comment = "left out: the archive is full"
		full = true
	default:
		text := redactText(cutText(string(ex.body), maxHARBody))
		if ex.cut || len(ex.body) > maxHARBody {
			e.Response.Content.Comment = "only the beginning"
		}
		e.Response.Content.Text = text
		h.size += len(text)
	}
	if full {
		h.left++
	}
	h.entries = append(h.entries, e)
}

func (h *har) full() bool { return h.size >= cmp.Or(h.most, maxHARTotal) }

func harHeaders(header http.Header) []harPair {
	out := []harPair{}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, v := range header[name] {
			out = append(out, harPair{name, redactHeader(name, v)})
		}
	}
	return out
}

func (h *har) write(w io.Writer) error {
	type creator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	type log struct {
		Version string     `json:"version"`
		Creator creator    `json:"creator"`
		Entries []harEntry `json:"entries"`
	}
	entries := h.entries
	if entries == nil {
		entries = []harEntry{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Log log `json:"log"`
	}{log{"1.2", creator{"SecureTag web", version}, entries}})
}

// cutText gives at most n bytes of s and splits no character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
