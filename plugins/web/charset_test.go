package main

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

func wide(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// TestCharsets: what a page says is read in every encoding, and so is a file that
// was written with a mark at its beginning.
func TestCharsets(t *testing.T) {
	t.Parallel()
	const page, login, settings = `<!doctype html><a href="/next">ü</a>`, "c4nary" + "0123456", "# ü\r\nDB_PASSWORD=hunter2\r\n"
	for name, tt := range map[string]struct{ kind, page, env string }{
		"a mark":         {"text/html", "\xef\xbb\xbf" + page, "\xef\xbb\xbf" + settings},
		"UTF-16, marked": {"text/html", wide(binary.LittleEndian, "\ufeff"+page), wide(binary.LittleEndian, "\ufeff"+settings)},
		"the other way":  {"text/html; charset=utf-8", wide(binary.BigEndian, "\ufeff"+page), wide(binary.BigEndian, "\ufeff"+settings)},
		"UTF-16, said":   {"text/html; charset=UTF-16LE", wide(binary.LittleEndian, page), settings},
		"Latin 1":        {"text/html; charset=iso-8859-1", strings.ReplaceAll(page, "ü", "\xfc"), settings},
		"unknown":        {"text/html; charset=none", page, settings},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", text(tt.kind, tt.page))
			mux.HandleFunc("/.env", text("application/octet-stream", tt.env))
			mux.HandleFunc("/next", text("text/plain; charset=utf-16le", wide(binary.LittleEndian, login)))
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, nil, map[string]any{"headers": map[string]string{"X-Login": login}})
			if r.Status != sdktest.Succeeded || !slices.Contains(s.requests(), "/next") {
				t.Errorf("%s: %s, asked for %q", r.Status, r.Reason, s.requests())
			}
			if diff := cmp.Diff([]string{"exposed-settings"}, broken(r.Findings, "exposed-")); diff != "" {
				t.Error(diff)
			}
			if all := shown(r) + string(r.Artifacts[len(r.Artifacts)-1].Data); strings.Contains(all, login) || strings.Contains(all, "hunter2") || !strings.Contains(all, "DB_PASSWORD=****") {
				t.Errorf("a secret is shown, or nothing is:\n%s", all)
			}
		})
	}
}

// TestLongPages: what is too long to be looked at whole is said, wherever it comes.
func TestLongPages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct {
		page   http.HandlerFunc
		reason string
	}{
		"an attribute": {htmlPage("<img alt='" + long + "'><a href=/next>x</a>"), "a tag or a text of more than 1MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", tt.page)
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, map[string]any{"max_body": "3MiB"}, map[string]any{"passive": true})
			if r.Status != sdktest.Partial || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s", r.Status, r.Reason)
			}
		})
	}
}

// TestLongAnswer: a parameter that comes back behind max_body is not taken for one
// that does not, and behind a long script it is seen.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before string
		most   string // of an answer
		rules  []string
		status string
	}{
		"within": {"<script>" + strings.Repeat("x", 1<<20+1) + "</script>", "2MiB", []string{"reflected-input"}, sdktest.Succeeded},
		"behind": {strings.Repeat("<p>xxxxxxx", 1000), "4KiB", nil, sdktest.Partial},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/{$}", htmlPage("<form action=/find><input name=q></form>"))
			mux.HandleFunc("/find", func(w http.ResponseWriter, r *http.Request) { htmlPage(tt.before+r.FormValue("q"))(w, r) })
			s := serve(t, "site.test", nil, mux, nil)
			r := s.scan(t, map[string]any{"max_body": tt.most}, nil)
			if diff := cmp.Diff(tt.rules, broken(r.Findings, "reflected-")); diff != "" || r.Status != tt.status {
				t.Errorf("%s: %s\n%s", r.Status, r.Reason, diff)
			}
		})
	}
}
