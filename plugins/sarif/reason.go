package main

import (
	"errors"
	"os"
	"regexp"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const (
	shownLines = 5   // of the end of standard error
	shownBytes = 600 // of these
)

// censor takes out of a reason what the tenant must not read: places of the
// machine, what the block of the plugin gives it, and what looks like a secret, the tool's or
// one that it found.
type censor struct{ places *strings.Replacer }

// newCensor: t is nil while there is no target.
func newCensor(c *Config, t *sdk.Target, copied string) *censor {
	var pairs []string
	add := func(text, with string) {
		if text != "" {
			pairs = append(pairs, text, with)
		}
	}
	dirs := []string{copied}
	if t != nil {
		dirs = append(dirs, t.WorkDir(), t.Root())
	}
	for _, dir := range dirs {
		if dir != "" {
			add(dir+"/", "")
			add(dir, ".")
		}
	}
	for _, k := range c.EnvPass {
		if v := os.Getenv(k); len(v) >= 4 {
			add(v, "****")
		}
	}
	return &censor{strings.NewReplacer(pairs...)}
}

var (
	userinfo = regexp.MustCompile(`(://)[^/\s:@]*:[^/\s@]*@`)
	named    = regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|secret|token|credentials?|api[_-]?key|access[_-]?key|authorization|bearer)["']?\s*(?:[=:]|\s)\s*)(?:bearer\s+|basic\s+)?["']?[^\s"',;]+`)
	long     = regexp.MustCompile(`\b(?:[A-Za-z]+[_-])?[A-Za-z0-9+_-]{20,}={0,2}`)
	keyBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
)

// clean shows nothing that looks like a secret; rather too little.
func (c *censor) clean(s string) string {
	s = c.places.Replace(s)
	s = keyBlock.ReplaceAllString(s, "****")
	s = userinfo.ReplaceAllString(s, "${1}****@")
	s = named.ReplaceAllString(s, "${1}****")
	return long.ReplaceAllStringFunc(s, func(word string) string {
		digits := strings.ContainsAny(word, "0123456789")
		letters := strings.ToLower(word) != strings.ToUpper(word)
		if digits && letters {
			return sdk.Redact(word)
		}
		return word
	})
}

// reason is an error for the tenant: what went wrong, and the end of what the
// tool said.
func (c *censor) reason(err error, stderr string) error {
	var lines []string
	for line := range strings.SplitSeq(c.clean(strings.ToValidUTF8(stderr, "")), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	text := c.clean(err.Error())
	if len(lines) == 0 {
		return errors.New(text)
	}
	lines = lines[max(0, len(lines)-shownLines):]
	said := strings.Join(lines, " | ")
	if over := len(said) - shownBytes; over > 0 {
		said = "…" + strings.ToValidUTF8(said[over:], "")
	}
	// The error may end with the last line already.
	text = strings.TrimSuffix(text, ": "+lines[len(lines)-1])
	return errors.New(text + "; it said: " + said)
}
