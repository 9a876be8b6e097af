// Package secretbox seals what a scan carries that nobody may read but the host
// that runs it. The boxes are kept with scans, the keys are not: who has only the
// one or the other has nothing.
//
// A box is a version, the id of its key, a nonce and what AES-256-GCM makes of the
// content, with the tenant and the scan as additional data: a box that is moved to
// another scan does not open.
package secretbox

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/securetaghq/securetag/host"
)

const (
	// KeySize is that of a key, in bytes.
	KeySize = 32
	// MaxKeys is how many may be in use at once.
	MaxKeys = 16

	version = 1
	idSize  = 8
)

// ErrNoKey is of a box that was sealed under a key which is not here.
var ErrNoKey = errors.New("it was sealed under a key that this host does not have")

// errBroken is of what no key opens. It does not say which part is wrong.
var errBroken = errors.New("it is damaged, or of another scan")

// Ring is the keys in use. Safe for concurrent use.
type Ring struct {
	keys         []key // oldest first
	fingerprints []byte
}

type key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// New takes keys, the oldest first. The newest seals, each opens what it sealed,
// and the oldest makes the fingerprints.
func New(keys [][]byte) (*Ring, error) {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return nil, fmt.Errorf("there are %d keys: 1 to %d are taken", len(keys), MaxKeys)
	}
	r := &Ring{fingerprints: derive(keys[0], "fingerprints")}
	for i, k := range keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", i+1, len(k), KeySize)
		}
		block, err := aes.NewCipher(derive(k, "boxes"))
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		own := key{aead: aead}
		copy(own.id[:], derive(k, "id"))
		if r.find(own.id[:]) != nil {
			return nil, fmt.Errorf("key %d is there twice", i+1)
		}
		r.keys = append(r.keys, own)
	}
	return r, nil
}

// derive makes a key for one purpose, so that none is used for two.
func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, "securetag secrets v1 "+purpose) // never returns an error
	return mac.Sum(nil)
}

func (r *Ring) find(id []byte) *key {
	for i := range r.keys {
		if string(r.keys[i].id[:]) == string(id) {
			return &r.keys[i]
		}
	}
	return nil
}

// Seal makes a box for a scan.
func (r *Ring) Seal(t host.TenantID, s host.ScanID, content []byte) []byte {
	k := r.keys[len(r.keys)-1]
	box := append([]byte{version}, k.id[:]...)
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never returns an error
	box = append(box, nonce...)
	return k.aead.Seal(box, nonce, content, about(t, s))
}

// Open gives the content of a box of this scan. An error says nothing of it.
func (r *Ring) Open(t host.TenantID, s host.ScanID, box []byte) ([]byte, error) {
	if len(box) < 1+idSize || box[0] != version {
		return nil, errBroken
	}
	id, rest := box[1:1+idSize], box[1+idSize:]
	k := r.find(id)
	if k == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoKey, hex.EncodeToString(id))
	}
	n := k.aead.NonceSize()
	if len(rest) < n {
		return nil, errBroken
	}
	content, err := k.aead.Open(nil, rest[:n], rest[n:], about(t, s))
	if err != nil {
		return nil, errBroken
	}
	return content, nil
}

// Fingerprint tells whether two requests of a tenant have the same secrets. Without
// the key nobody can try out what they may have been.
func (r *Ring) Fingerprint(t host.TenantID, content []byte) []byte {
	mac := hmac.New(sha256.New, r.fingerprints)
	_, _ = mac.Write(append(about(t, ""), content...)) // never returns an error
	return mac.Sum(nil)
}

// about is the additional data: ids have no zero byte.
func about(t host.TenantID, s host.ScanID) []byte {
	return []byte(string(t) + "\x00" + string(s) + "\x00")
}
