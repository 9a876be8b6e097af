// Package apikey makes API keys and operators' keys, and recognises them. A key is
//
//	stag_ + 52 characters (256 random bits, base32) + 7 characters (CRC-32)
//
// in lower case; an operator's begins with stagop_. The checksum covers the
// prefix, so that no key of one kind is a key of the other kind, and each is
// refused in the other's place before any store is asked. The prefix lets secret scanners find a leaked key, and the
// checksum lets a host refuse a mistyped one without asking the store. Neither
// is a secret; only the random part protects anything.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/securetaghq/securetag/host"
)

const (
	tenantPrefix   = "stag_"
	operatorPrefix = "stagop_"
	alphabet       = "abcdefghijklmnopqrstuvwxyz234567"
	randomChars    = 52 // 32 bytes
	sumChars       = 7  // 4 bytes
	shownChars     = 6  // of a key in a list, behind its prefix
)

// New makes a key. The secret is shown once and kept nowhere; key has its id,
// hash and prefix, and still needs its tenant and name before it is stored.
func New() (secret string, key host.Key) {
	secret, shown := random(tenantPrefix)
	return secret, host.Key{ID: host.NewKeyID(), Prefix: shown, Hash: sha256.Sum256([]byte(secret))}
}

// NewOperator makes an operator's key as New does a tenant's; key still needs
// its name.
func NewOperator() (secret string, key host.OperatorKey) {
	secret, shown := random(operatorPrefix)
	return secret, host.OperatorKey{ID: host.NewKeyID(), Prefix: shown, Hash: sha256.Sum256([]byte(secret))}
}

func random(prefix string) (secret, shown string) {
	var raw [32]byte
	// rand.Read never returns an error: without randomness the program ends.
	_, _ = rand.Read(raw[:])
	body := encode(raw[:])
	return prefix + body + checksum(prefix, body), prefix + body[:shownChars]
}

// Parse gives the hash under which a key is stored. It is false for what New
// cannot have made.
func Parse(secret string) (hash [32]byte, ok bool) { return parse(tenantPrefix, secret) }

// ParseOperator gives the hash under which an operator's key is stored. It is
// false for what NewOperator cannot have made.
func ParseOperator(secret string) (hash [32]byte, ok bool) { return parse(operatorPrefix, secret) }

func parse(prefix, secret string) (hash [32]byte, ok bool) {
	rest, ok := strings.CutPrefix(secret, prefix)
	if !ok || len(rest) != randomChars+sumChars {
		return hash, false
	}
	body, sum := rest[:randomChars], rest[randomChars:]
	if strings.Trim(body, alphabet) != "" || checksum(prefix, body) != sum {
		return hash, false
	}
	return sha256.Sum256([]byte(secret)), true
}

func checksum(prefix, body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(prefix+body)))
	return encode(sum[:])
}

func encode(b []byte) string {
	return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding).EncodeToString(b)
}
