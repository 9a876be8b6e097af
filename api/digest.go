package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// errDigest: the body is not what its Content-Digest says.
var errDigest = errors.New("content digest mismatch")

// digests checks a body as it is read against its Content-Digest (RFC 9530).
type digests struct {
	sums []hash.Hash
	want [][]byte
}

// digestsOf reads the header: nil when it says nothing that is known here,
// errMalformed when what it says cannot be read.
func digestsOf(h http.Header) (*digests, error) {
	header := strings.Join(h.Values("Content-Digest"), ",")
	if header == "" {
		return nil, nil
	}
	d := &digests{}
	for member := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(member, "=")
		var sum hash.Hash
		switch strings.TrimSpace(name) {
		case "sha-256":
			sum = sha256.New()
		case "sha-512":
			sum = sha512.New()
		default: // others are not for those who do not know them
			continue
		}
		value, _, _ = strings.Cut(strings.TrimSpace(value), ";")
		text, opened := strings.CutPrefix(value, ":")
		text, closed := strings.CutSuffix(text, ":")
		want, err := base64.StdEncoding.DecodeString(text)
		if !opened || !closed || err != nil || len(want) != sum.Size() {
			return nil, fmt.Errorf("Content-Digest %s is not :base64: of %d bytes: %w", strings.TrimSpace(name), sum.Size(), errMalformed)
		}
		d.sums, d.want = append(d.sums, sum), append(d.want, want)
	}
	if len(d.sums) == 0 {
		return nil, nil
	}
	return d, nil
}

// add takes a piece of the body; nil takes it for nothing.
func (d *digests) add(p []byte) {
	if d == nil {
		return
	}
	for _, sum := range d.sums {
		_, _ = sum.Write(p) // a hash takes everything
	}
}

// check is errDigest when the whole body is another.
func (d *digests) check() error {
	if d == nil {
		return nil
	}
	for i, sum := range d.sums {
		if !bytes.Equal(sum.Sum(nil), d.want[i]) {
			return fmt.Errorf("read request body: %w", errDigest)
		}
	}
	return nil
}
