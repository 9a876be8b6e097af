package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// minCompressed is the shortest answer worth compressing, in bytes.
const minCompressed = 4 << 10

// held are the media types of which an answer is held back until it is whole: it
// has a length then, and what is done to it is done here for every route. What
// streams is of none of these.
func held(h http.Header) bool {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch media {
	case "application/json", openAPIType, problemType:
		return true
	}
	return false
}

// asked is what a request says of how it wants to be answered.
type asked struct {
	reads       bool // GET or HEAD
	gzip        bool
	ifNoneMatch string
}

func askedBy(r *http.Request) asked {
	return asked{
		reads: r.Method == http.MethodGet || r.Method == http.MethodHead,
		gzip:  acceptsGzip(r.Header.Values("Accept-Encoding")), ifNoneMatch: strings.Join(r.Header.Values("If-None-Match"), ","),
	}
}

// represent gives status and body as they are sent: nothing of a body that the
// client has already, and compressed what it takes compressed. An ETag is of the
// bytes, and so the same on every host; that of a version begins with it, for
// If-Match.
func (a asked) represent(status int, h http.Header, body []byte) (int, []byte) {
	h.Add("Vary", "Accept-Encoding")
	suffix := ""
	packed := a.gzip && len(body) >= minCompressed
	if packed {
		suffix = "-gzip"
	}
	if a.reads && status == http.StatusOK {
		sum := sha256.Sum256(body)
		tag := base64.RawURLEncoding.EncodeToString(sum[:16])
		if version := strings.Trim(h.Get("Etag"), `"`); version != "" {
			tag = version + "." + tag
		}
		h.Set("Etag", `"`+tag+suffix+`"`)
		if matches(a.ifNoneMatch, tag) {
			h.Del("Content-Type")
			return http.StatusNotModified, nil
		}
	}
	if packed {
		body = compress(body)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return status, body
}

// matches reports whether If-None-Match names a representation with this tag,
// compressed or not: what is in it is the same. The comparison is the weak one, as
// RFC 9110 has it.
func matches(header, tag string) bool {
	for given := range strings.SplitSeq(header, ",") {
		given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
		if given == "*" || given == `"`+tag+`"` || given == `"`+tag+`-gzip"` {
			return true
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding, RFC 9110 12.5.3.
func acceptsGzip(headers []string) bool {
	any := false
	for _, header := range headers {
		for item := range strings.SplitSeq(header, ",") {
			coding, weight, _ := strings.Cut(item, ";")
			name, value, _ := strings.Cut(weight, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			wanted := !strings.EqualFold(strings.TrimSpace(name), "q") || err == nil && q > 0
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return wanted
			case "*":
				any = wanted
			}
		}
	}
	return any
}

// packers are reused: each has a window and tables of many kilobytes.
var packers = sync.Pool{New: func() any { //nolint:gochecknoglobals // a pool has no state to depend on
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	return w
}}

func compress(body []byte) []byte {
	w := packers.Get().(*gzip.Writer) //nolint:forcetypeassert // the pool has no others
	defer packers.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	_, _ = w.Write(body) // a Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}
