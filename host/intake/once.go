package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/securetaghq/securetag/host"
)

// Replayed is why a scan was not accepted: the same request was before. It is no
// failure. Scan is as it was accepted then.
type Replayed struct{ Scan host.Scan }

func (r *Replayed) Error() string {
	return fmt.Sprintf("the same request was accepted as scan %s", r.Scan.ID)
}

// OnceKey is that of a request to a route which its client calls name.
func OnceKey(route, name string) [32]byte { return digest("once-v1", route, name) }

// once is by what the request is known; nil for one that has no name. The input
// is an archive's SHA-256, whatever the archive is called, or a URL.
func (in *Intake) once(req Request, input string) *host.Once {
	if req.Key == nil {
		return nil
	}
	options, _ := ParseOptions(req.Options) // they were good already; what counts is what they say
	gate := ""
	if req.Gate != nil {
		gate = fmt.Sprintf("%s %t", req.Gate.FailOn, req.Gate.NewOnly)
	}
	parts := []string{"request-v1", req.Type, input, req.Project, string(req.Priority), string(options), gate}
	if secrets := in.secretsDigest(req); secrets != "" {
		parts = append(parts, secrets)
	}
	return &host.Once{Key: *req.Key, Digest: digest(parts...)}
}

// replay says what becomes of a request whose key had one before.
func replay(asked *host.Once, e *host.Earlier) error {
	if e.Digest == asked.Digest {
		return &Replayed{e.Scan}
	}
	return refuse(host.ErrInvalid, "idempotency_key_reused", "", "This Idempotency-Key was used for another request, which was accepted as scan %s. "+
		"Use a new key for each request, and the same one only to send a request again as it was.", e.Scan.ID)
}

// digest covers each part with its length, so that no two lists look alike.
func digest(parts ...string) (sum [32]byte) {
	h := sha256.New()
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	h.Sum(sum[:0])
	return sum
}

// apart splits a batch: of those that are the same request only the first is in
// the first part.
func apart(batch []*acceptance) (first, later []*acceptance) {
	if !slices.ContainsFunc(batch, func(a *acceptance) bool { return a.once != nil }) {
		return batch, nil
	}
	seen := map[requestKey]bool{}
	for _, a := range batch {
		k, ok := keyOf(a)
		if ok && seen[k] {
			later = append(later, a)
			continue
		}
		seen[k] = ok
		first = append(first, a)
	}
	return first, later
}

// requestKey tells requests apart.
type requestKey struct {
	tenant host.TenantID
	key    [32]byte
}

func keyOf(a *acceptance) (requestKey, bool) {
	if a.once == nil {
		return requestKey{}, false
	}
	return requestKey{a.scan.TenantID, a.once.Key}, true
}

// repeated tells those whose like is settled, and gives those that are still to
// be stored: what was refused leaves its key free.
func repeated(first, later []*acceptance) (rest []*acceptance) {
	if len(later) == 0 {
		return nil
	}
	settled := map[requestKey]*acceptance{}
	for _, a := range first {
		if k, ok := keyOf(a); ok {
			settled[k] = a
		}
	}
	for _, a := range later {
		k, _ := keyOf(a)
		was := settled[k]
		_, before := was.err.(*host.Earlier) //nolint:errorlint // it was put there as it is
		switch {
		case was.err == nil:
			a.err = &host.Earlier{Digest: was.once.Digest, Scan: was.scan}
		case before, unsure(was.err):
			a.err = was.err
		default:
			rest = append(rest, a)
		}
	}
	return rest
}
