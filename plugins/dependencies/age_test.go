package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/sdk/sdktest"
)

func date(month time.Month, day int) time.Time {
	return time.Date(2024, month, day, 0, 0, 0, 0, time.UTC)
}

// A pause is the longest time without an advisory in the year before the newest
// change, whatever was changed when.
func TestPace(t *testing.T) {
	t.Parallel()
	var daily, weekly []dates
	for d := range 400 {
		daily = append(daily, dates{date(6, 1).AddDate(0, 0, -d), date(6, 1).AddDate(0, 0, -d)})
		weekly = append(weekly, dates{date(6, 1), date(6, 1).AddDate(0, 0, -7*d)}) // all changed at once
	}
	for name, c := range map[string]struct {
		dates  []dates
		newest time.Time
		days   int
	}{
		"daily":            {daily, date(6, 1), 1},
		"weekly":           {weekly, date(6, 1), 7},
		"changed later":    {append(weekly, dates{date(6, 30), date(6, 1)}), date(6, 30), 29},
		"one":              {[]dates{{date(6, 1), date(6, 1)}}, date(6, 1), year},
		"one, of long ago": {[]dates{{date(6, 1), date(6, 1).AddDate(-5, 0, 0)}}, date(6, 1), year},
		"half a year ago":  {[]dates{{date(6, 1), date(1, 1)}}, date(6, 1), 213},
		"published later":  {append(daily, dates{date(5, 1), date(12, 1)}), date(6, 1), 1},
		"no dates":         {[]dates{{}}, time.Time{}, year},
	} {
		of := newCalendar()
		for _, d := range c.dates {
			of.add(d)
		}
		if p := of.pace(); !p.Newest.Equal(c.newest) || p.Pause != time.Duration(c.days)*oneDay {
			t.Errorf("%s: newest %v, pause %v", name, p.Newest, p.Pause)
		}
	}
}

// A database in which one ecosystem was not brought up to date: scans of trees that
// need it say so, and those of others do not. One that is quiet is not old.
func TestOldEcosystem(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"fresh.json": advisoryOf("PYSEC-1", "PyPI", date(12, 9)),
		"quiet.json": advisoryOf("HSEC-1", "Hackage", date(6, 1)),
	}
	for week := range 60 {
		files[fmt.Sprintf("stale-%d.json", week)] = advisoryOf(fmt.Sprintf("GHSA-%d", week), "npm", date(9, 1).AddDate(0, 0, -7*week))
	}
	dir := t.TempDir()
	if _, err := (update{from: writeFiles(t, files), to: dir, ecosystems: ecosystems, log: t.Output()}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	const old = "the vulnerability database is old for npm: the newest advisory is of 2024-09-01, 100 days ago"
	python, haskell := map[string]string{"requirements.txt": "p==2.0\n"}, map[string]string{"cabal.project.freeze": "constraints: any.p ==2.0\n"}
	javascript := map[string]string{"yarn.lock": "# yarn lockfile v1\n\np@^2.0.0:\n  version \"2.0.0\"\n"}
	for _, c := range []struct {
		files map[string]string
		max   string
		old   bool
	}{
		{javascript, "168h", true},
		{javascript, "2256h", false}, // 94 days, and 7 of pause
		{javascript, "2208h", true},  // 92 days
		{python, "168h", false},
		{haskell, "168h", false},
	} {
		r := scanApp(t, sdktest.Request{Files: c.files, Config: fmt.Sprintf(`{"database": %q, "max_age": %q}`, dir, c.max)})
		if r.Status != sdktest.Succeeded || noted(r, old+", so newer vulnerabilities are not found") != c.old || noted(r, "is old") != c.old {
			t.Errorf("%v, %s: %s %s, %q", c.files, c.max, r.Status, r.Reason, r.Notes)
		}
	}
	config := &Config{Database: dir, MaxAge: 168 * time.Hour}
	if h := health(config, today); h.Degraded != old || !h.DataUpdated.Equal(date(9, 1)) {
		t.Errorf("health %+v", h)
	}
	if h := health(config, today.AddDate(2, 0, 0)); !strings.HasPrefix(h.Degraded, "the vulnerability database is old: ") || !h.DataUpdated.Equal(date(12, 9)) {
		t.Errorf("health %+v", h)
	}
	config.MaxAge = 2400 * time.Hour
	if h := health(config, today); h.Degraded != "" || !h.DataUpdated.Equal(date(12, 9)) {
		t.Errorf("health %+v", h)
	}
}

func advisoryOf(id, ecosystem string, at time.Time) string {
	return fmt.Sprintf(`{"id": %q, "modified": %[2]q, "published": %[2]q, "affected": [{"package": {"ecosystem": %[3]q, "name": "p"}, "versions": ["1.0"]}]}`,
		id, at.Format(time.RFC3339), ecosystem)
}
