package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/securetaghq/securetag/sdk"
)

// library is a script that many sites use, how to see its version, and which
// versions have known vulnerabilities.
type library struct {
	name    string
	file    *regexp.Regexp // of its URL; the version is group 1
	banner  *regexp.Regexp // of its text; any group
	defects []defect
}

// defect is an advisory: versions from (inclusive) to before (exclusive).
type defect struct {
	id       string // CVE
	from     string // "" the first
	before   string
	severity sdk.Severity
	what     string
}

const versionRE = `v?(\d+\.\d+(?:\.\d+)?(?:-[0-9A-Za-z.]+)?)`

// libraries is a small table of what is seen most, from the advisories in GitHub's
// database, each of which has the page github.com/advisories?query=CVE-... It is of
// the middle of 2025 and grows with releases alone: what it does not name is not
// looked at, and README.md says so.
func libraries() []library {
	lib := func(name, file, banner string, defects ...defect) library {
		return library{name, regexp.MustCompile(`(?i)(?:^|/)` + file), regexp.MustCompile(banner), defects}
	}
	return []library{
		lib("jquery", `jquery(?:[-./@]|/)`+versionRE+`(?:/(?:dist/)?jquery)?(?:\.slim)?(?:\.min)?\.js$`, `/\*!? jQuery `+versionRE+`|jQuery JavaScript Library `+versionRE+`|jQuery `+versionRE+` - New Wave Javascript`,
			defect{"CVE-2012-6708", "", "1.9.0", sdk.Medium, "text that looks like a selector is taken for HTML"},
			defect{"CVE-2015-9251", "", "3.0.0", sdk.Medium, "answers of other sites may run as scripts"},
			defect{"CVE-2019-11358", "", "3.4.0", sdk.Medium, "jQuery.extend can change the prototype of every object"},
			defect{"CVE-2020-11022", "1.2.0", "3.5.0", sdk.Medium, "HTML that was made harmless may still run scripts"},
			defect{"CVE-2020-11023", "1.0.3", "3.5.0", sdk.Medium, "HTML with <option> may run scripts"}),
		lib("jquery-ui", `jquery[-.]?ui[-./@]`+versionRE+`(?:[./].*)?\.js$`, `jQuery UI (?:- )?`+versionRE,
			defect{"CVE-2021-41182", "", "1.13.0", sdk.Medium, "options of the datepicker may run scripts"},
			defect{"CVE-2022-31160", "", "1.13.2", sdk.Medium, "labels of checkboxradio may run scripts when they are refreshed"}),
		lib("bootstrap", `bootstrap[-./@]`+versionRE+`(?:[./].*)?\.js$`, `Bootstrap (?:[a-z.-]+ )?`+versionRE,
			defect{"CVE-2018-14040", "2.3.0", "3.4.0", sdk.Medium, "the parent of a collapse may run scripts"},
			defect{"CVE-2019-8331", "", "3.4.1", sdk.Medium, "templates of tooltips and popovers may run scripts"},
			defect{"CVE-2019-8331", "4.0.0", "4.3.1", sdk.Medium, "templates of tooltips and popovers may run scripts"}),
		lib("lodash", `lodash(?:\.js)?[-./@]`+versionRE+`(?:[./].*)?\.js$`, `[\s*]lodash `+versionRE+`|(?s)(?:Lodash|lodash) [^*]{0,40}<https?://lodash\.com/>.*?VERSION = '`+versionRE+`'`,
			defect{"CVE-2019-10744", "", "4.17.12", sdk.Critical, "defaultsDeep can change the prototype of every object"},
			defect{"CVE-2020-8203", "3.7.0", "4.17.19", sdk.High, "zipObjectDeep can change the prototype of every object"},
			defect{"CVE-2021-23337", "", "4.17.21", sdk.High, "a template may run commands"}),
		lib("underscore", `underscore(?:\.js)?[-./@]`+versionRE+`(?:[./].*)?\.js$`, `(?m)^//\s+Underscore\.js `+versionRE, // that of Lodash says on which it is based
			defect{"CVE-2021-23358", "1.3.2", "1.12.1", sdk.High, "a template may run code"}),
		lib("angularjs", `angular(?:js)?[-./@]`+versionRE+`(?:[./].*)?\.js$`, `AngularJS `+versionRE,
			defect{"CVE-2019-10768", "", "1.7.9", sdk.High, "merge can change the prototype of every object"},
			defect{"CVE-2020-7676", "", "1.8.0", sdk.Medium, "HTML with <option> may run scripts"},
			defect{"CVE-2024-21490", "1.3.0", "2.0.0", sdk.High, "reading a long ng-srcset takes very long, and no version is without it"}),
		lib("moment", `moment(?:\.js)?[-./@]`+versionRE+`(?:[./].*)?\.js$`, `//! version : `+versionRE,
			defect{"CVE-2022-24785", "1.0.1", "2.29.2", sdk.High, "the name of a locale may lead to another file"},
			defect{"CVE-2022-31129", "2.18.0", "2.29.4", sdk.High, "reading a long text takes very long"}),
		lib("handlebars", `handlebars(?:\.js)?[-./@]`+versionRE+`(?:[./].*)?\.js$`, `handlebars `+versionRE,
			defect{"CVE-2019-19919", "", "4.3.0", sdk.Critical, "a template can change the prototype of every object"},
			defect{"CVE-2021-23369", "", "4.7.7", sdk.Critical, "a template may run code"}),
		lib("dompurify", `(?:dompurify|purify)[-./@]`+versionRE+`(?:[./].*)?\.js$`, `DOMPurify `+versionRE,
			defect{"CVE-2024-45801", "", "2.5.4", sdk.High, "deeply nested HTML gets through"},
			defect{"CVE-2024-45801", "3.0.0", "3.1.3", sdk.High, "deeply nested HTML gets through"},
			defect{"CVE-2025-26791", "", "3.2.4", sdk.Medium, "templates that are made safe may still run scripts"}),
		lib("axios", `axios[-./@]`+versionRE+`(?:[./].*)?\.js$`, `[Aa]xios v`+versionRE,
			defect{"CVE-2020-28168", "", "0.21.1", sdk.Medium, "a redirect gets past the proxy"},
			defect{"CVE-2021-3749", "", "0.21.2", sdk.High, "trimming a long text takes very long"},
			defect{"CVE-2023-45857", "0.8.1", "0.28.0", sdk.Medium, "the token against forged requests is sent to other sites"},
			defect{"CVE-2023-45857", "1.0.0", "1.6.0", sdk.Medium, "the token against forged requests is sent to other sites"},
			defect{"CVE-2025-27152", "", "0.30.0", sdk.High, "a whole URL gets past the base URL, and takes credentials along"},
			defect{"CVE-2025-27152", "1.0.0", "1.8.2", sdk.High, "a whole URL gets past the base URL, and takes credentials along"}),
	}
}

// checkLibraries looks at the scripts that a page names, and into those of the
// site itself.
func (s *scan) checkLibraries(p *page) {
	for _, r := range p.resources {
		if r.tag != "script" {
			continue
		}
		for _, l := range s.libraries {
			if m := l.file.FindStringSubmatch(r.url.Path); m != nil {
				s.outdated(l, m[1], p.exchange, place(r.url))
				break
			}
		}
	}
	if !strings.HasSuffix(p.url.Path, ".js") && !strings.Contains(p.header.Get("Content-Type"), "javascript") || p.status != 200 || p.html {
		return
	}
	head := p.body[:min(len(p.body), 4<<10)]
	for _, l := range s.libraries {
		if m := l.banner.FindSubmatch(head); m != nil {
			version := bytes.Join(m[1:], nil) // of one of its ways to say it
			s.outdated(l, string(version), p.exchange, place(p.url))
			return
		}
	}
}

// outdated reports a library once, with all that is known of its version.
func (s *scan) outdated(l library, version string, ex *exchange, script string) {
	var ids, what []string
	severity := sdk.Severity(0)
	for _, d := range l.defects {
		if affected(version, d) {
			ids, what = append(ids, d.id), append(what, d.id+": "+d.what)
			severity = max(severity, d.severity)
		}
	}
	// By its name in a page and by its own banner it is one.
	key := l.name + " " + version
	if len(ids) == 0 || s.seen["library\x00"+key+"\x00"+script] {
		return
	}
	s.seen["library\x00"+key+"\x00"+script] = true
	s.report("vulnerable-library", ex, found{
		key: key, severity: severity, confidence: sdk.ConfidenceMedium,
		message:    fmt.Sprintf("The script %.200s is %s %s, which has known vulnerabilities. %s.", script, l.name, version, strings.Join(what, "; ")),
		properties: map[string]string{"library": l.name, "version": version, "cve": strings.Join(ids, " "), "script": script},
	})
}

func affected(version string, d defect) bool {
	v := "v" + version
	return semver.IsValid(v) && semver.Compare(v, "v"+d.before) < 0 && (d.from == "" || semver.Compare(v, "v"+d.from) >= 0)
}
