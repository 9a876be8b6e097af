package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/securetaghq/securetag/sdk"
)

const maxProof = 32 << 10 // of a file that should not be there

// exposure is a file that is there by mistake, and what proves it: its content,
// for many sites answer 200 to everything.
type exposure struct {
	path     string
	rule     string
	what     string
	severity sdk.Severity // 0: the rule's
	proof    func(body []byte) bool
	show     bool // its beginning, redacted; else its first line or bytes
}

// exposures are asked for at the root of the site.
func exposures() []exposure {
	re := func(s string) func([]byte) bool { return regexp.MustCompile(s).Match }
	starts := func(s string) func([]byte) bool {
		return func(b []byte) bool { return bytes.HasPrefix(b, []byte(s)) }
	}
	env := func(b []byte) bool { return isEnv(b) }
	sql := re(`(?im)^\s*(?:CREATE TABLE|INSERT INTO|DROP TABLE IF EXISTS|-- MySQL dump|-- PostgreSQL database dump|PRAGMA foreign_keys)`)
	zip := starts("PK\x03\x04")
	gz := starts("\x1f\x8b\x08")
	tar := func(b []byte) bool { return len(b) > 262 && string(b[257:262]) == "ustar" }
	key := re(`^[^<]*?(?m:^)-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----`) // behind parameters of a curve or a certificate
	phpWithPassword := func(b []byte) bool {
		return bytes.Contains(b, []byte("<?php")) && regexp.MustCompile(`(?i)passw|DB_USER|mysqli?_connect|new PDO`).Match(b)
	}
	return []exposure{
		{"/.git/HEAD", "exposed-repository", "a Git repository, with which the source and its history can be fetched", 0, re(`^(?:ref: refs/[\w./-]+|[0-9a-f]{40})\s*$`), true},
		{"/.git/config", "exposed-repository", "the configuration of a Git repository", 0, re(`(?m)^\[core\]`), true},
		{"/.svn/wc.db", "exposed-repository", "a working copy of Subversion", 0, starts("SQLite format 3\x00"), false},
		{"/.hg/requires", "exposed-repository", "a Mercurial repository", 0, re(`(?m)^(?:revlogv1|dotencode|fncache|store)$`), true},
		{"/.env", "exposed-settings", "settings of the environment", 0, env, true},
		{"/.env.local", "exposed-settings", "settings of the environment", 0, env, true},
		{"/.env.production", "exposed-settings", "settings of the environment", 0, env, true},
		{"/.env.bak", "exposed-settings", "settings of the environment", 0, env, true},
		{"/wp-config.php.bak", "exposed-settings", "the settings of WordPress, with its database's password", 0, phpWithPassword, false},
		{"/wp-config.php~", "exposed-settings", "the settings of WordPress, with its database's password", 0, phpWithPassword, false},
		{"/config.php.bak", "exposed-settings", "settings with a password", 0, phpWithPassword, false},
		{"/.aws/credentials", "exposed-settings", "credentials of AWS", sdk.Critical, re(`(?m)^aws_(?:access_key_id|secret_access_key)\s*=`), true},
		{"/.npmrc", "exposed-settings", "settings of npm with a token", 0, re(`(?m)_authToken\s*=`), true},
		{"/.htpasswd", "exposed-settings", "hashes of passwords", 0, re(`(?m)^[\w.@-]+:(?:\$apr1\$|\$2[aby]\$|\$[156]\$|\{S?SHA\}|[./0-9A-Za-z]{13}\s*$)`), false},
		{"/docker-compose.yml", "exposed-settings", "a description of the services behind the site", sdk.Medium, re(`(?m)^services:\s*$[\s\S]*?^\s+image:|^services:\s*$[\s\S]*?^\s+build:`), true},
		{"/web.config", "exposed-settings", "the settings of IIS", sdk.Medium, re(`<configuration>[\s\S]*<system\.web`), true},
		{"/appsettings.json", "exposed-settings", "settings of ASP.NET", 0, re(`"ConnectionStrings"\s*:\s*\{`), true},
		{"/id_rsa", "exposed-key", "a private key", 0, key, false},
		{"/server.key", "exposed-key", "a private key", 0, key, false},
		{"/privatekey.pem", "exposed-key", "a private key", 0, key, false},
		{"/.ssh/id_rsa", "exposed-key", "a private key", 0, key, false},
		{"/backup.zip", "exposed-backup", "an archive", 0, zip, false},
		{"/backup.tar.gz", "exposed-backup", "an archive", 0, func(b []byte) bool { return gz(b) || tar(b) }, false}, // some servers take its ending for an encoding
		{"/backup.tar", "exposed-backup", "an archive", 0, tar, false},
		{"/site.zip", "exposed-backup", "an archive", 0, zip, false},
		{"/www.zip", "exposed-backup", "an archive", 0, zip, false},
		{"/backup.sql", "exposed-backup", "a dump of a database", 0, sql, false},
		{"/dump.sql", "exposed-backup", "a dump of a database", 0, sql, false},
		{"/database.sql", "exposed-backup", "a dump of a database", 0, sql, false},
		{"/db.sqlite3", "exposed-backup", "a database", 0, starts("SQLite format 3\x00"), false},
		{"/phpinfo.php", "exposed-status", "phpinfo", 0, re(`<title>(?:PHP [\d.]+ - )?phpinfo\(\)</title>`), false},
		{"/server-status", "exposed-status", "the status of Apache, with the requests of others", 0, re(`<title>Apache Status</title>`), false},
		{"/actuator/env", "exposed-status", "the environment of a Spring application", sdk.High, re(`"propertySources"\s*:\s*\[`), false},
		{"/actuator/heapdump", "exposed-status", "the memory of a Java application", sdk.Critical, re(`^(?:JAVA PROFILE 1\.0|\x1f\x8b\x08)`), false},
		{"/debug/pprof/", "exposed-status", "the profiler of a Go program", 0, re(`Types of profiles available:`), true},
		{"/debug/vars", "exposed-status", "the variables of a Go program", 0, re(`"cmdline"\s*:\s*\[[\s\S]*"memstats"\s*:`), false},
		{"/metrics", "exposed-status", "metrics of the inside", sdk.Low, re(`(?m)^# (?:HELP|TYPE) [a-z_:]+ `), true},
		{"/.DS_Store", "exposed-status", "the list of a directory, by a Mac", sdk.Low, starts("\x00\x00\x00\x01Bud1"), false},
	}
}

var envLine = regexp.MustCompile(`^(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=\s*(.*)`)

// isEnv: every line is a setting, a comment or empty, or in the value of a setting
// that goes on over lines in quotes, and there is a setting.
func isEnv(b []byte) bool {
	if len(b) >= maxProof { // the last line was cut
		b = b[:bytes.LastIndexByte(b, '\n')+1]
	}
	settings, quote := 0, byte(0)
	for i, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch m := envLine.FindSubmatch(line); {
		case quote != 0:
			if bytes.IndexByte(line, quote) >= 0 {
				quote = 0
			}
		case i > 500:
			return settings > 0
		case len(line) == 0 || line[0] == '#':
		case m == nil:
			return false
		default:
			settings++
			if v := m[1]; len(v) > 0 && (v[0] == '"' || v[0] == '\'') && bytes.IndexByte(v[1:], v[0]) < 0 {
				quote = v[0]
			}
		}
	}
	return settings > 0 && quote == 0
}

func (s *scan) checkExposed(ctx context.Context) error {
	for _, e := range exposures() {
		ex, err := s.getSome(ctx, at(s.start.url, e.path), maxProof)
		if err != nil {
			if stops(ctx, err) {
				return err
			}
			continue
		}
		if ex.status != 200 || !e.proof(ex.body) {
			continue
		}
		what := found{message: fmt.Sprintf("Everybody can fetch %s.", e.what), key: e.path, severity: e.severity, excerpt: firstOf(ex.body)}
		if e.show {
			what.excerpt = redactSettings(cutText(strings.ToValidUTF8(string(ex.body), ""), maxExcerpt))
		}
		s.report(e.rule, ex, what)
	}
	return nil
}

// firstOf is what tells the kind of a file and not what is in it.
func firstOf(body []byte) string {
	line, _, _ := bytes.Cut(body, []byte("\n"))
	if line = line[:min(len(line), 60)]; utf8.Valid(line) && !bytes.ContainsRune(line, 0) {
		return string(line)
	}
	return fmt.Sprintf("first bytes: % x", body[:min(len(body), 16)])
}

// checkBackups asks for what editors and people leave beside a page: its source,
// which is proved by what no page has.
func (s *scan) checkBackups(ctx context.Context) error {
	pages := s.probes()
	for _, p := range s.pages {
		ext := path.Ext(p.url.Path)
		if !slices.Contains([]string{".php", ".asp", ".aspx", ".jsp", ".py", ".rb", ".pl", ".cgi"}, ext) || !pages.take(place(p.url)) {
			continue
		}
		for _, name := range []string{p.url.Path + ".bak", p.url.Path + "~", p.url.Path + ".old", path.Join(path.Dir(p.url.Path), "."+path.Base(p.url.Path)+".swp")} {
			if err := s.checkBackup(ctx, at(p.url, name)); err != nil {
				return err
			}
		}
	}
	if !pages.left.none() {
		s.missed(fmt.Sprintf("backups of %d pages were asked for, and of %s more were not (max_probes)", len(pages.tried), &pages.left))
	}
	return nil
}

var source = regexp.MustCompile(`^\s*<\?php\s|^\s*<%@?\s|^#!/[\w/]+/(?:python|ruby|perl|env)|^b0VIM [\d.]+`)

func (s *scan) checkBackup(ctx context.Context, u *url.URL) error {
	ex, err := s.getSome(ctx, u, maxProof)
	if err != nil {
		if stops(ctx, err) {
			return err
		}
		return nil
	}
	if ex.status == 200 && source.Match(ex.body) {
		s.report("exposed-backup", ex, found{message: "Everybody can fetch the source of a page.", severity: sdk.High, excerpt: firstOf(ex.body)})
	}
	return nil
}
