package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakes are secrets that look real and are not. Every one is put together here,
// so that no scanner of repositories takes this file for a leak.
func fakes() map[string]string {
	// Distinct characters give the entropy that the rules ask for.
	mixed := "q7Zt2Rk9Xw4Lp8Vb3Nc6Md1Hs5Jf0Gy"
	return map[string]string{
		"aws":    "AKI" + "AQ7ZT2RK6XW4LP5VB",
		"github": "gh" + "p_" + mixed + "Ax7zQ",
		"slack":  "xox" + "b-" + "123456789012-123456789012-" + mixed[:24],
		"stripe": "sk_" + "live_" + mixed[:24],
		"key":    "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEA"+mixed+"\n", 4) + "-----END RSA " + "PRIVATE KEY-----",
		"value":  "zX9" + mixed + "kQ",
		"teams":  "https://acme.webhook" + ".office.com/webhookb2/1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f@1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f/IncomingWebhook/" + strings.Repeat("1a2b3c4d", 4) + "/1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f",
	}
}

// sample is the tree, and every clear text that must not come out of it.
func sample(t testing.TB) (root string, clear []string) {
	t.Helper()
	f := fakes()
	wrapped := base64.StdEncoding.EncodeToString([]byte("token: " + f["github"] + " and some words after it"))
	jwt := base64.StdEncoding.EncodeToString([]byte("ey" + base64.RawStdEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))[2:] +
		".ey" + base64.RawStdEncoding.EncodeToString([]byte(`{"sub":"1234567890","name":"Somebody Nobody"}`))[2:] + "." + f["value"]))
	long := strings.Repeat("var filler = 1;\n", 14_000) // over two fragments
	wide := strings.Repeat("x = y; ", 30_000)           // one line over two fragments
	files := map[string]string{
		"config/aws.env":      "# comment\nAWS_ACCESS_KEY_ID=" + f["aws"] + "\nREGION=eu\n",
		"app/main.py":         "import os\n\n\ntoken = '" + f["github"] + "'\nprint(token)\n",
		"app/two.js":          "const a = '" + f["slack"] + "', b = '" + f["stripe"] + "';\n",
		"app/no_newline.txt":  "first\nsecond\nkey " + f["github"],
		"keys/id_rsa":         f["key"] + "\n",
		"keys/indented.yaml":  "a: 1\nkey: |\n  " + strings.ReplaceAll(f["key"], "\n", "\n  ") + "\nb: 2\n",
		"crlf.ini":            "[x]\r\napi_key = \"" + f["value"] + "\"\r\n",
		"allowed.py":          "token = '" + f["github"] + "' # gitleaks" + ":allow\n",
		"encoded.txt":         "line\ndata: " + wrapped + "\n",
		"jwt.txt":             "x\ntoken: " + jwt + "\n",
		"teams.go":            "package x\n\nconst hook = \"" + f["teams"] + "\"\n",
		"long.js":             long + "const k = '" + f["stripe"] + "';\n",
		"wide.js":             wide + "const k = '" + f["stripe"] + "'; " + wide + "\n",
		"only.js":             "\n" + wide + "const k = '" + f["stripe"] + "';",
		"store/cert.p12":      strings.Repeat("not really one\n", 20_000),
		"node_modules/x/a.js": "const k = '" + f["stripe"] + "';\n",
		"go.sum":              f["github"] + "\n",
		"archive.zip":         "token = '" + f["github"] + "'\n",
		"image.dat":           "\x7fELF" + strings.Repeat("\x00", 300) + f["github"],
		"empty":               "",
		"ünïcode dir/ä.txt":   "ключ = '" + f["github"] + "'\n",
		"README.md":           "# Nothing here\n\nJust words.\n",
		// What a target might bring to hide its secrets.
		".gitleaks.toml":  "[allowlist]\npaths = ['''.*''']\n",
		"deep/a/b/c/d.sh": "curl -u admin:" + f["value"] + " https://example.com\n",
	}
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, s := range f {
		if name == "key" {
			s = strings.Split(s, "\n")[1]
		}
		clear = append(clear, s)
	}
	return root, append(clear, wrapped, jwt, strings.TrimPrefix(f["teams"], "https://"), f["key"][40:80])
}

// at is a place as the goldens write it.
func at(path string, line, column int, rule string) string {
	return fmt.Sprintf("%s:%d:%d %s", path, line, column, rule)
}
