package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/securetaghq/securetag/host/secretbox"
)

// TestSecretKeys: the first host makes a key, all hosts have the same, and an
// operator adds others.
func TestSecretKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rings := make([]*secretbox.Ring, 8)
	var hosts sync.WaitGroup
	for i := range rings {
		hosts.Go(func() {
			var err error
			if rings[i], err = keepSecretKeys(dir); err != nil {
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	if t.Failed() {
		return
	}
	old := rings[0].Seal("t", "s", []byte("x"))
	for _, r := range rings {
		if content, err := r.Open("t", "s", old); err != nil || string(content) != "x" {
			t.Errorf("another host: %q, %v", content, err)
		}
	}
	path := filepath.Join(dir, "secrets.key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fresh := strings.Repeat("ab", secretbox.KeySize) + "\n"
	write := func(content string) (*secretbox.Ring, error) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return keepSecretKeys(dir)
	}
	both, err := write(string(text) + fresh)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Open("t", "s", old); err != nil {
		t.Errorf("with a second key: %v", err)
	}
	last, err := write(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Open("t", "s", both.Seal("t", "s", []byte("x"))); err != nil {
		t.Errorf("the last line did not seal: %v", err)
	}
	for what, content := range map[string]string{
		"empty": "", "no hex": "s3cret", "short": "abcd\n", "twice": fresh + fresh, "too many": strings.Repeat(fresh, secretbox.MaxKeys+1), "a gap": fresh + "\n" + string(text),
	} {
		if _, err := write(content); err == nil || !strings.Contains(err.Error(), "secrets.key") || bytes.Contains([]byte(err.Error()), []byte("s3cret")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
