package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/bench/peers/stats"
)

// Markdown is the page docs/benchmarks.md.
func (r *Run) Markdown() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n")
	b.WriteString("`make bench` measured and wrote this page: SecureTag beside other stacks that do the same work, " +
		"in one run on one machine, the systems taking turns and each round beginning with another one.\n\n")
	fmt.Fprintf(&b, "The work: upload a zip of 10 KB over HTTP, keep it, store and queue it, and have a worker mark it as running and completed. "+
		"SecureTag does more for it: it checks and unpacks the archive, holds a lease, and asks a real plugin process over gRPC. "+
		"Numbers are the median of %d rounds, and [least–most].\n\n", r.rounds())
	b.WriteString(r.Tables())
	b.WriteString(howTo)
	return b.String()
}

const howTo = "## Repeat it\n\n```sh\nmake bench                                      # everything, about 20 minutes; writes this page\n" +
	"make bench ROUNDS=1 CELLS=securetag             # one system once\n" +
	"make bench CELLS=peers PHASES=live,idle         # only the others\n" +
	"make bench CELLS=securetag,securetag-unlimited  # what plans, quotas and rates cost\n" +
	"make bench-quick                                # ours, in under a minute\n```\n\n" +
	"It needs Linux, PostgreSQL and Redis (of which it starts its own), and for Express Node.js 20 or newer. " +
	"`bench/peers` holds the other stacks and says how each phase is measured.\n"

// Tables is the page without its frame, for a terminal.
func (r *Run) Tables() string {
	var b strings.Builder
	r.targetTable(&b)
	r.liveTable(&b)
	r.limitsTable(&b)
	r.idleTable(&b)
	r.drainTable(&b)
	r.costTables(&b)
	r.memoryTable(&b)
	r.factTable(&b)
	return b.String()
}

func (r *Run) rounds() int {
	n := 0
	for _, res := range r.Results {
		n = max(n, res.Round)
	}
	return n
}

func (r *Run) targetTable(b *strings.Builder) {
	b.WriteString("## Targets\n\n")
	var rows [][]string
	for _, t := range r.Targets() {
		against, got := t.Against, t.Got
		if !t.Measured {
			against, got = "-", "-"
		}
		rows = append(rows, []string{t.What, t.Want, got, against, t.Verdict()})
	}
	table(b, []string{"target", "wanted", "measured", "compared with", ""}, rows)
}

func (r *Run) liveTable(b *strings.Builder) {
	ours := r.values(Ours, live(endPerSec))
	var rows [][]string
	for _, c := range r.Cells {
		end := r.values(c.Name, live(endPerSec))
		if end.N == 0 {
			continue
		}
		rows = append(rows, []string{c.Title,
			spread(r.values(c.Name, live(acceptedLive))),
			spread(r.values(c.Name, live(func(p *Live) float64 { return p.Burst.Answer.P50 }))),
			spread(r.values(c.Name, live(func(p *Live) float64 { return p.Burst.Answer.P99 }))),
			spread(end), times(stats.Ratio(ours, end)),
			spread(r.values(c.Name, api(acceptedAlone)))})
	}
	section(b, "Under load", thousands(r.Uploads)+" uploads from 32 clients, each sending one after the other, while jobs run. "+
		"End to end is from the first upload sent to the last job's end. Ours / theirs: how many times as fast SecureTag is, end to end.",
		[]string{"", "accepted/s", "202 p50 ms", "p99 ms", "end to end jobs/s", "ours / theirs", "accepted/s with no worker"}, rows)
}

func (r *Run) idleTable(b *strings.Builder) {
	ours := r.values(Ours, idle(completedP50))
	var rows [][]string
	for _, c := range r.Cells {
		get := func(f func(*Idle) float64) string { return spread(r.values(c.Name, idle(f))) }
		done := r.values(c.Name, idle(completedP50))
		if done.N == 0 {
			continue
		}
		rows = append(rows, []string{c.Title,
			get(func(p *Idle) float64 { return p.Answer.P50 }),
			get(func(p *Idle) float64 { return p.PickUp.P50 }), get(func(p *Idle) float64 { return p.PickUp.P99 }),
			get(func(p *Idle) float64 { return p.Started.P50 }),
			get(completedP50), get(completedP99), times(stats.Ratio(ours, done))})
	}
	section(b, "Idle", "200 uploads, 20 a second, in ms. Started is when the worker took the job, completed when its end was stored. "+
		"A pick-up below 0 began before the client had read its 202. Ours / theirs: what part of their time SecureTag takes.",
		[]string{"", "sent to 202 p50", "202 to started p50", "p99", "sent to started p50", "sent to completed p50", "p99", "ours / theirs, p50"}, rows)
}

func (r *Run) drainTable(b *strings.Builder) {
	var rows [][]string
	add := func(title string, queued, rate, later stats.Spread) {
		if queued.N > 0 {
			rows = append(rows, []string{title, thousands(int(queued.Median)), spread(rate), spread(later)})
		}
	}
	count := func(d *Drain) float64 { return float64(d.Queued) }
	for _, c := range r.Cells {
		add(c.Title, r.values(c.Name, backlog(count)), r.values(c.Name, backlog(drainPerSec)), stats.Spread{})
		add(c.Title, r.values(c.Name, large(count)), r.values(c.Name, large(drainPerSec)), r.values(c.Name, large(laterPerSec)))
	}
	section(b, "Backlog", fmt.Sprintf("Jobs a second once a worker starts on what is queued. The peers have %s jobs queued through their API. "+
		"SecureTag's are of 1,000 tenants, put into its database, and its rate is that between the %sth and the %sth end, whatever the size, and for the large one also up to the %sth.",
		thousands(r.Uploads), thousands(WindowFrom), thousands(WindowTo), thousands(LaterTo)),
		[]string{"", "queued", "jobs/s", "over more jobs"}, rows)
}

func (r *Run) costTables(b *strings.Builder) {
	phases := []struct {
		title string
		of    func(Result) *Common
	}{
		{"under load", func(x Result) *Common { return common(x.Live, func(p *Live) *Common { return &p.Common }) }},
		{"with no worker", func(x Result) *Common { return common(x.API, func(p *API) *Common { return &p.Common }) }},
		{"backlog", func(x Result) *Common { return common(x.Backlog, func(p *Drain) *Common { return &p.Common }) }},
		{"backlog of 1,000,000", func(x Result) *Common { return common(x.Large, func(p *Drain) *Common { return &p.Common }) }},
	}
	groups := []string{"host", "worker", "plugin", "postgres", "redis", "load"}
	var rows [][]string
	for _, c := range r.Cells {
		for _, p := range phases {
			sum := r.values(c.Name, of(p.of, total))
			if sum.N == 0 {
				continue
			}
			row := []string{c.Title, p.title}
			for _, g := range groups {
				row = append(row, number(r.values(c.Name, of(p.of, func(x *Common) float64 { return perJob(x, g) })).Median))
			}
			kernel := r.values(c.Name, of(p.of, func(x *Common) float64 { return x.Usage.Kernel / float64(max(x.Jobs, 1)) * 1e6 }))
			disk := r.values(c.Name, of(p.of, func(x *Common) float64 { return x.Usage.DiskBusy * 100 }))
			rows = append(rows, append(row, number(kernel.Median), number(sum.Median), number(disk.Median)))
		}
	}
	section(b, "Where the time goes", "Processor time for each job in µs, median.",
		[]string{"", "phase", "server", "worker", "plugin", "PostgreSQL", "Redis", "load generator", "kernel threads", "sum", "disk busy %"}, rows)
}

func common[P any](p *P, get func(*P) *Common) *Common {
	if p == nil {
		return nil
	}
	return get(p)
}

func total(c *Common) float64 {
	sum := c.Usage.Kernel
	for _, v := range c.Usage.Groups {
		sum += v
	}
	return sum / float64(max(c.Jobs, 1)) * 1e6
}

func (r *Run) memoryTable(b *strings.Builder) {
	var rows [][]string
	for _, c := range r.Cells {
		peaks := map[string]float64{}
		for _, res := range r.Results {
			if res.Cell != c.Name {
				continue
			}
			for _, p := range res.phases() {
				for name, mib := range p.Peak {
					peaks[name] = max(peaks[name], mib)
				}
			}
		}
		if len(peaks) == 0 {
			continue
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(peaks)) {
			all = append(all, fmt.Sprintf("%s %s", processName(name), number(peaks[name])))
		}
		rows = append(rows, []string{c.Title, strings.Join(all, ", ")})
	}
	section(b, "Memory", "Peak resident memory of each process, the largest of all rounds.", []string{"", "MiB"}, rows)
}

// processName is what a group is called on the page.
func processName(group string) string {
	if group == "host" {
		return "server"
	}
	return group
}

func (r Result) phases() []*Common {
	var all []*Common
	if r.Live != nil {
		all = append(all, &r.Live.Common)
	}
	if r.Idle != nil {
		all = append(all, &r.Idle.Common)
	}
	if r.API != nil {
		all = append(all, &r.API.Common)
	}
	if r.Backlog != nil {
		all = append(all, &r.Backlog.Common)
	}
	if r.Large != nil {
		all = append(all, &r.Large.Common)
	}
	return all
}

func (r *Run) factTable(b *strings.Builder) {
	b.WriteString("## The machine\n\n")
	var rows [][]string
	for _, f := range r.Facts {
		rows = append(rows, []string{f.Name, f.Value})
	}
	var sync []float64
	phases, disturbed := 0, 0
	for _, res := range r.Results {
		sync = append(sync, res.SyncMicros)
		for _, p := range res.phases() {
			phases++
			if p.Disturbed() {
				disturbed++
			}
		}
	}
	rows = append(rows, []string{"8 KiB written and synced, µs", spread(stats.Over(sync))},
		[]string{"phases during which others used over 5% of the machine", fmt.Sprintf("%d of %d", disturbed, phases)})
	table(b, []string{"", ""}, rows)
}
