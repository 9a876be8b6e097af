package main

import (
	"maps"
	"slices"
	"time"
)

// pace is how the advisories of an ecosystem come: of npm several a day, of
// others one in months, which is no sign that the database is old.
type pace struct {
	Newest time.Time     `json:"newest"` // when the advisory that changed last did
	Pause  time.Duration `json:"pause"`  // the longest between two in the year before that, in whole days
}

// calendar is what a pace is made of.
type calendar struct {
	newest time.Time
	days   map[int]bool // on which one was published
}

const (
	oneDay = 24 * time.Hour
	year   = 365 // days
)

func newCalendar() *calendar { return &calendar{days: map[int]bool{}} }

func (c *calendar) add(d dates) {
	if d.modified.After(c.newest) {
		c.newest = d.modified
	}
	c.days[day(d.published)] = true
}

func day(t time.Time) int { return int(t.Unix() / int64(oneDay/time.Second)) }

// pace counts when advisories were published: when they were changed is the same
// day for thousands at times.
func (c *calendar) pace() pace {
	last := day(c.newest)
	at, pause := last-year, 0
	for _, d := range append(slices.Sorted(maps.Keys(c.days)), last) {
		if d > at && d <= last {
			pause, at = max(pause, d-at), d
		}
	}
	return pace{Newest: c.newest.UTC(), Pause: time.Duration(pause) * oneDay}
}

// old reports whether the newest is older than the data may be and than a pause
// explains.
func (p pace) old(now time.Time, most time.Duration) bool { return now.Sub(p.Newest) > most+p.Pause }

// age is how old the data is, and whether that is too old.
func (d *database) age(now time.Time, most time.Duration) (text string, old bool) {
	text = newestOf(d.meta.Newest)
	if now.Sub(d.meta.Newest) > most {
		return "the vulnerability database is old: " + text + ago(d.meta.Newest, now), true
	}
	return text, false
}

// behind gives the ecosystems whose data is too old, and how old, of a database
// that as a whole is not.
func (d *database) behind(now time.Time, most time.Duration) map[string]string {
	out := map[string]string{}
	for e, p := range d.meta.Ecosystems {
		if p.old(now, most) {
			out[e] = e + ": " + newestOf(p.Newest) + ago(p.Newest, now)
		}
	}
	return out
}

const behindOn = "the vulnerability database is old for "

func newestOf(t time.Time) string {
	return "the newest advisory is of " + t.UTC().Format(time.DateOnly)
}

func ago(t, now time.Time) string { return ", " + count(int(now.Sub(t)/oneDay), "day") + " ago" }
