package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/host/secretbox"
)

// maxSecretKeys bounds the file, in bytes.
const maxSecretKeys = secretbox.MaxKeys * (2*secretbox.KeySize + 2)

// keepSecretKeys opens the keys of scans' secrets, of which a file has one a line,
// the oldest first, and makes the first one. Hosts that race for it all get the
// same.
func keepSecretKeys(dataDir string) (*secretbox.Ring, error) {
	path := filepath.Join(dataDir, "secrets.key")
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() > maxSecretKeys:
		return nil, fmt.Errorf("%s is larger than %d keys: remove those under which nothing is sealed any more", path, secretbox.MaxKeys)
	case os.IsNotExist(err):
		if _, err := keepRandom(path, secretbox.KeySize); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		key, err := hex.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil { // which would repeat a character of the key
			return nil, fmt.Errorf("line %d of %s is no key of %d bytes in hex", i+1, path, secretbox.KeySize)
		}
		keys = append(keys, key)
	}
	ring, err := secretbox.New(keys)
	if err != nil {
		return nil, fmt.Errorf("%s, a key a line: %w", path, err)
	}
	return ring, nil
}

// openSecrets opens the box of a scan whose job starts here.
func (n *node) openSecrets(s host.Scan) (map[string]json.RawMessage, error) {
	content, err := n.secrets.Open(s.TenantID, s.ID, s.Secrets)
	if err != nil {
		return nil, err
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(content, &out); err != nil {
		return nil, fmt.Errorf("read the secrets of scan %s: they are no JSON object", s.ID) // the error may repeat them
	}
	return out, nil
}

// secretOptions names the options of a plugin that nobody is shown.
func (n *node) secretOptions(ctx context.Context, plugin string) (names []string, known bool) {
	if n.executor != nil {
		return n.executor.SecretOptions(ctx, plugin)
	}
	cfg := n.live.config()
	for _, p := range executorConfig(cfg, "", "").Plugins {
		if p.Name == plugin {
			return executor.RememberedSecretOptions(describeDir(cfg), p)
		}
	}
	return nil, false
}
