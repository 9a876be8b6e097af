// Package apikey makes API keys and recognises them. A key is
//
//	stag_ + 52 characters (256 random bits, base32) + 7 characters (CRC-32)
//
// in lower case. The prefix lets secret scanners find a leaked key, and the
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
	prefix      = "stag_"
	alphabet    = "abcdefghijklmnopqrstuvwxyz234567"
	randomChars = 52 // 32 bytes
	sumChars    = 7  // 4 bytes
	length      = len(prefix) + randomChars + sumChars
	shownChars  = len(prefix) + 6 // of a key in a list
)

// New makes a key. The secret is shown once and kept nowhere; key has its id,
// hash and prefix, and still needs its tenant and name before it is stored.
func New() (secret string, key host.Key) {
	var raw [32]byte
	// rand.Read never returns an error: without randomness the program ends.
	_, _ = rand.Read(raw[:])
	body := encode(raw[:])
	secret = prefix + body + checksum(body)
	return secret, host.Key{
		ID:     host.NewKeyID(),
		Prefix: secret[:shownChars],
		Hash:   sha256.Sum256([]byte(secret)),
	}
}

// Parse gives the hash under which a key is stored. It is false for what New
// cannot have made.
func Parse(secret string) (hash [32]byte, ok bool) {
	if len(secret) != length || !strings.HasPrefix(secret, prefix) {
		return hash, false
	}
	body, sum := secret[len(prefix):len(prefix)+randomChars], secret[len(prefix)+randomChars:]
	if strings.Trim(body, alphabet) != "" || checksum(body) != sum {
		return hash, false
	}
	return sha256.Sum256([]byte(secret)), true
}

func checksum(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(prefix+body)))
	return encode(sum[:])
}

func encode(b []byte) string {
	return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding).EncodeToString(b)
}
