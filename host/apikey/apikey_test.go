package apikey_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/host/apikey"
)

func TestNewIsParsed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		secret, key := apikey.New()
		if seen[secret] {
			t.Fatalf("made %q twice", secret)
		}
		seen[secret] = true
		if len(secret) != 64 || !strings.HasPrefix(secret, "stag_") {
			t.Errorf("secret %q: want 64 characters that begin with stag_", secret)
		}
		hash, ok := apikey.Parse(secret)
		if !ok || hash != key.Hash || hash != sha256.Sum256([]byte(secret)) {
			t.Errorf("Parse(%q) = %x, %v; the key has %x", secret, hash, ok, key.Hash)
		}
		if key.ID == "" || key.Prefix != secret[:11] {
			t.Errorf("key id %q, prefix %q of secret %q", key.ID, key.Prefix, secret)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	secret, _ := apikey.New()
	other := byte('a')
	if secret[20] == other {
		other = 'b'
	}
	for name, s := range map[string]string{
		"empty":          "",
		"too short":      secret[:63],
		"too long":       secret + "a",
		"upper case":     strings.ToUpper(secret),
		"other prefix":   "stog_" + secret[5:],
		"changed letter": secret[:20] + string(other) + secret[21:],
		"bad letter":     secret[:20] + "!" + secret[21:],
		"bad checksum":   secret[:63] + "!",
		"space":          " " + secret[:63],
	} {
		if _, ok := apikey.Parse(s); ok {
			t.Errorf("%s: Parse(%q) took it", name, s)
		}
	}
}

// TestOperatorKeys: a key of one kind is never a key of the other, not even with
// its prefix changed.
func TestOperatorKeys(t *testing.T) {
	t.Parallel()
	for range 100 {
		secret, key := apikey.NewOperator()
		hash, ok := apikey.ParseOperator(secret)
		if !ok || hash != key.Hash || len(secret) != 66 || key.Prefix != secret[:13] || !strings.HasPrefix(secret, "stagop_") {
			t.Errorf("ParseOperator(%q) = %x, %v; the key is %+v", secret, hash, ok, key)
		}
		tenants, _ := apikey.New()
		for _, s := range []string{secret, "stag_" + secret[7:]} {
			if _, ok := apikey.Parse(s); ok {
				t.Errorf("Parse took an operator's key %q", s)
			}
		}
		for _, s := range []string{tenants, "stagop_" + tenants[5:]} {
			if _, ok := apikey.ParseOperator(s); ok {
				t.Errorf("ParseOperator took a tenant's key %q", s)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	secret, _ := apikey.New()
	f.Add(secret)
	f.Add("stag_")
	operators, _ := apikey.NewOperator()
	f.Add(operators)
	f.Add(strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, s string) {
		hash, ok := apikey.Parse(s)
		if ok && hash != sha256.Sum256([]byte(s)) {
			t.Errorf("Parse(%q) hashed something else", s)
		}
		if ok && strings.ToLower(s) != s {
			t.Errorf("Parse(%q) took a second spelling", s)
		}
		if _, operator := apikey.ParseOperator(s); ok && operator {
			t.Errorf("%q is a key of both kinds", s)
		}
	})
}
