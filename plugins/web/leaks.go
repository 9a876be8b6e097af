package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const maxLeakText = 2 << 20 // of one answer; each costs half a second

// versioned is a product with its version, as headers give it.
var versioned = regexp.MustCompile(`[A-Za-z][\w .-]*[/ ]v?\d+(?:\.\d+)+|^\d+(?:\.\d+)+$`)

// leak is text that shows something of the inside.
type leak struct {
	rule, what string
	re         *regexp.Regexp
	confidence sdk.Confidence
}

func leaks() []leak {
	re := regexp.MustCompile
	return []leak{
		{"stack-trace", "a traceback of Python", re(`Traceback \(most recent call last\):\s+File "`), 0},
		{"stack-trace", "a stack trace of Java", re(`(?m)^\s*at [\w.$<>]+\([\w$]+\.(?:java|kt|scala):\d+\)`), 0},
		{"stack-trace", "an error of PHP", re(`(?:Fatal error|Warning|Notice|Parse error)(?:</b>)?:\s.{1,300}? in (?:<b>)?/[\w./-]+\.php(?:</b>)? on line (?:<b>)?\d+`), 0},
		{"stack-trace", "an error page of ASP.NET", re(`Server Error in '[^']*' Application`), 0},
		{"stack-trace", "a panic of Go", re(`goroutine \d+ \[running\]:`), 0},
		{"stack-trace", "a stack trace of Node.js", re(`\n\s*(?:&nbsp;)* *at [\w.<> \[\]]+ \((?:file://)?/[\w./@-]+\.[cm]?js:\d+:\d+\)`), 0},
		{"stack-trace", "a backtrace of Ruby", re("/[\\w./-]+\\.rb:\\d+:in [`']\\w"), 0},
		{"database-error", "an error of a database", re(`You have an error in your SQL syntax|SQLSTATE\[\w+\]|\bORA-\d{5}:|PG::\w+Error|unterminated quoted string at or near|Unclosed quotation mark after the character string|SQLITE_ERROR|sqlite3\.OperationalError`), sdk.ConfidenceMedium},
		{"debug-page", "the debugger of Werkzeug, which runs code", re(`The debugger caught an exception in your WSGI application|__debugger__=yes`), 0},
		{"debug-page", "a debug page of Django", re(`You're seeing this error because you have <code>DEBUG = True</code>`), 0},
		{"debug-page", "a debug page of Laravel", re(`<title>[^<]*(?:Whoops! There was an error|Ignition)[^<]*</title>|window\.ignite\(`), 0},
		{"debug-page", "a debug page of Rails", re(`<title>Action Controller: Exception caught</title>`), 0},
		{"debug-page", "phpinfo", re(`<title>(?:PHP [\d.]+ - )?phpinfo\(\)</title>`), 0},
		{"secret-in-page", "a private key", re(`-----BEGIN (?:RSA |EC |OPENSSH |DSA |ENCRYPTED )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{20}`), 0},
		{"secret-in-page", "an AWS access key id", re(`\bAKIA[0-9A-Z]{16}\b`), sdk.ConfidenceMedium},
		{"secret-in-page", "a token of GitHub", re(`\bgh[pousr]_[0-9A-Za-z]{36}\b`), sdk.ConfidenceMedium},
		{"secret-in-page", "a token of Slack", re(`\bxox[abprs]-[0-9]{8,}-[0-9A-Za-z-]{10,}`), sdk.ConfidenceMedium},
		{"secret-in-page", "a live secret key of Stripe", re(`\b[rs]k_live_[0-9A-Za-z]{20,}`), sdk.ConfidenceMedium},
		{"private-address", "an address of the inside", re(`\b(?:10(?:\.\d{1,3}){3}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}|192\.168(?:\.\d{1,3}){2})(?::\d{2,5}|/[a-z])`), sdk.ConfidenceLow},
	}
}

// checkLeaks looks for what an answer tells of the inside. It is for pages and for
// the error pages that are asked for.
func (s *scan) checkLeaks(ex *exchange) {
	for _, name := range []string{"Server", "X-Powered-By", "X-Aspnet-Version", "X-Aspnetmvc-Version", "X-Generator"} {
		if v := ex.header.Get(name); versioned.MatchString(v) {
			s.report("version-disclosed", ex, found{
				everywhere: true, key: name, properties: map[string]string{"header": name},
				message: fmt.Sprintf("The header %s tells the exact version of what runs there: %.100q.", name, v),
			})
		}
	}
	if v := ex.header.Get("X-Debug-Token-Link"); v != "" {
		s.report("debug-page", ex, found{key: "symfony", everywhere: true, message: "The header X-Debug-Token-Link says that the profiler of Symfony is on, which shows settings and requests."})
	}
	if !isText(ex.header) {
		return
	}
	body := ex.body[:min(len(ex.body), maxLeakText)]
	if len(body) < len(ex.body) {
		s.leaky++
	}
	for _, l := range s.leaks {
		at := l.re.FindIndex(body)
		if at != nil && !bytes.Contains(body[at[0]:at[1]], []byte("EXAMPLE")) { // as documentation writes keys
			s.report(l.rule, ex, found{
				key: l.what, confidence: l.confidence, excerpt: around(body, at[0], at[1]),
				message: "The answer shows " + l.what + ".",
			})
		}
	}
}

// checkErrors asks for what is not there and for what is no good request: pages
// that nobody looks at are where servers tell most.
func (s *scan) checkErrors(ctx context.Context) error {
	for _, p := range []string{"/securetag-probe-404", "/securetag-probe-404.php"} {
		ex, err := s.get(ctx, at(s.start.url, p))
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			continue
		}
		if ex.status != http.StatusTooManyRequests {
			s.checkLeaks(ex)
		}
	}
	for _, in := range s.targets {
		ex, err := s.get(ctx, with(in.url, in.name, strings.Repeat(`'"`, 2)+`%00[]`, in.all))
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			continue
		}
		s.checkLeaks(ex)
	}
	return nil
}
