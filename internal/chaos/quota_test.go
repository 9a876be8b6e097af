package chaos_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/chaos/plan"
	"github.com/securetaghq/securetag/internal/testhost"
)

// The tenants of the quotas' tests, each with one quota that is tight in its own
// way, and caps on its jobs.
const (
	tightStorage = iota
	tightDay
	tightQueue
)

// tight are their plans; 0 is any number.
func tight() []holds {
	return []holds{
		tightStorage: {Storage: 200 << 10, Queued: 40, Running: 2},
		tightDay:     {Scans: 25, Running: 3},
		tightQueue:   {Queued: 3, Running: 1},
	}
}

// tightly are the settings of a cluster with these tenants.
func tightly(s settings) settings {
	var b strings.Builder
	for i, q := range tight() {
		s.plans = append(s.plans, fmt.Sprintf("tight-%d", i))
		fmt.Fprintf(&b, `
plan "tight-%d" {
  request_rate    = "0"
  upload_rate     = "0"
  storage_quota   = "%dB"
  queued_scans    = %d
  scans_per_day   = %d
  concurrent_jobs = %d
}
`, i, q.Storage, q.Queued, q.Scans, q.Running)
	}
	s.more = b.String() + `
retention {
  archives = "1s"
  sweep    = "1s"
}
scan "once" {
  input    = "archive"
  plugins  = ["flaky"]
  attempts = 1
}
scan "brief" {
  input    = "archive"
  plugins  = ["flaky"]
  timeout  = "1s"
}
`
	return s
}

// TestQuotasUnderFire: many uploads at once to hosts that are killed between an
// archive and its commit, and while jobs run, never let a tenant hold more than
// its plan says, at any moment; and through every end that a scan can have what
// it took is given back once.
func TestQuotasUnderFire(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]settings{"three hosts": {}, "embedded": {embedded: true, hosts: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, broken := range squeeze(start(t, tightly(s)), rand.Uint64()) {
				t.Error(broken)
			}
		})
	}
}

// crush is one such run.
type crush struct {
	*cluster
	books *books
	seed  uint64
	rng   *rand.Rand // the storm's own
	big   []byte     // a blob of its own
	small []byte     // kept with its scan, or in a pack

	mu       sync.Mutex
	accepted map[string]int // scan -> tenant
	refused  map[string]int // by quota, or by how it failed
	broken   []string
}

const (
	uploaders = 15 // of each tenant
	openGate  = "open"
	shutGate  = "shut"
)

// squeeze returns what was wrong.
func squeeze(c *cluster, seed uint64) []string {
	c.t.Logf("seed %d", seed)
	q := &crush{cluster: c, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), accepted: map[string]int{}, refused: map[string]int{}}
	q.books = openBooks(c)
	q.big, q.small = q.noise(44<<10), q.noise(2<<10)
	q.fill()
	for i := 0; !q.killStaged(); i++ {
		if i == 3 {
			c.t.Error("no archive was ever stored while nobody could commit")
			break
		}
	}
	q.storm()
	q.exhaustDay()
	q.drain()
	q.forget()
	q.audit()
	for _, h := range c.hosts {
		c.killHost(h)
	}
	q.sweep()
	q.judge()
	c.t.Logf("%d accepted, and %d whose 202 was lost; the others: %s", len(q.accepted), len(q.books.names(`select distinct cast(scan as text) from chaos_books`))-len(q.accepted), figures(q.refused))
	return q.broken
}

func (q *crush) wrong(format string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.broken) < 20 {
		q.broken = append(q.broken, fmt.Sprintf(format, args...))
	}
}

// noise is an archive of a little more than n bytes.
func (q *crush) noise(n int) []byte {
	q.t.Helper()
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(q.rng.Uint32())
	}
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	err := tw.WriteHeader(&tar.Header{Name: "noise", Mode: 0o644, Size: int64(n)})
	if _, werr := tw.Write(text); err == nil {
		err = werr
	}
	if err := errors.Join(err, tw.Close(), zw.Close()); err != nil {
		q.t.Fatal(err)
	}
	return b.Bytes()
}

// upload uploads an archive to a host, and says what came of it: "" when it was
// accepted, a quota, or how it failed.
func (q *crush) upload(ctx context.Context, to, tenant int, archive []byte, scanType string, o plan.Options) (scan, refused string) {
	options, err := json.Marshal(map[string]plan.Options{"flaky": o})
	if err != nil {
		panic(err)
	}
	s, err := q.api(to, tenant).Upload(ctx, bytes.NewReader(archive), client.UploadOptions{Filename: "noise.tar.gz", Type: scanType, Options: options})
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.accepted[s.ID] = tenant
		return s.ID, ""
	}
	refused = kind(err)
	var problem *client.Error
	if errors.As(err, &problem) && problem.Quota != "" {
		refused = problem.Quota
	}
	q.refused[refused]++
	return "", refused
}

// gatePath is a gate by its name.
func (q *crush) gatePath(name string) string { return filepath.Join(q.gates(), name) }

// any uploads a scan that ends in some way, once the gate is open.
func (q *crush) any(ctx context.Context, rng *rand.Rand, tenant int) {
	scanType, o := "one", plan.Options{Seed: rng.Int64N(1 << 40), Gate: q.gatePath(openGate)}
	switch rng.IntN(8) {
	case 0: // fails for good
		for scanType, o.Gate = "once", ""; o.Behave(1) != plan.Fail; o.Seed++ {
		}
	case 1: // times out
		scanType, o.Gate = "brief", q.gatePath(shutGate)
	}
	archive := q.big
	if rng.IntN(3) == 0 {
		archive = q.small
	}
	to := rng.IntN(len(q.hosts))
	scan, _ := q.upload(ctx, to, tenant, archive, scanType, o)
	if scan != "" && rng.IntN(4) == 0 {
		if _, err := q.api(to, tenant).Cancel(ctx, scan); err == nil {
			q.mu.Lock()
			q.refused["canceled"]++
			q.mu.Unlock()
		}
	}
}

// fill uploads until quotas are full while no job can end, so that it is certain
// that each was reached.
func (q *crush) fill() {
	q.t.Helper()
	var wg sync.WaitGroup
	for _, tenant := range []int{tightStorage, tightQueue} {
		for i := range uploaders {
			wg.Go(func() {
				o := plan.Options{Seed: int64(i), Gate: q.gatePath(openGate)}
				if _, why := q.upload(q.t.Context(), i, tenant, q.big, "one", o); why != "" && why != "storage_quota" && why != "queued_scans" {
					q.wrong("an upload to hosts that are well: %s", why)
				}
			})
		}
	}
	wg.Wait()
	plans := tight()
	if !poll(q.t, time.Minute, func() bool {
		now := q.books.sums(bookNow)
		return now[tenantName(tightStorage)].Running == plans[tightStorage].Running && now[tenantName(tightQueue)].Running == plans[tightQueue].Running
	}) {
		q.t.Fatalf("the caps of running jobs were not reached: %+v", q.books.sums(bookNow))
	}
}

// storm kills hosts while everybody uploads.
func (q *crush) storm() {
	q.t.Helper()
	ctx, stop := context.WithCancel(q.t.Context())
	defer stop()
	var wg sync.WaitGroup
	for n := range len(q.keys) * uploaders {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(q.seed, uint64(n)+1))
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
				q.any(one, rng, n%len(q.keys))
				cancel()
				sleep(ctx, time.Duration(rng.IntN(1200))*time.Millisecond)
			}
		})
	}
	q.kill() // while jobs run and wait for the gate
	for attempt := range 5 {
		q.open(q.gatePath(openGate), attempt+1)
	}
	q.kill() // while jobs come and go
	q.answer(uploaders)
	stop()
	wg.Wait()
}

// kill kills some host, at some moment after hosts have answered to many, and
// starts it again.
func (q *crush) kill() {
	q.t.Helper()
	q.answer(2 * uploaders)
	sleep(q.t.Context(), time.Duration(q.rng.IntN(200))*time.Millisecond)
	h := q.hosts[q.rng.IntN(len(q.hosts))]
	q.killHost(h)
	q.startHost(h)
}

// answer waits until hosts have taken or refused n more uploads.
func (q *crush) answer(n int) {
	q.t.Helper()
	answered := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		sum := len(q.accepted)
		for why, n := range q.refused {
			if why != network {
				sum += n
			}
		}
		return sum
	}
	before := answered()
	if !poll(q.t, time.Minute, func() bool { return answered() >= before+n }) {
		q.t.Fatalf("the hosts answer nobody: %d, and %d before", answered(), before)
	}
}

// killStaged kills a host while it has archives that are stored and cannot be
// committed. It is false when it had none: on SQLite a key that is used for the
// first time in a minute waits for the writer too, and so does its upload.
func (q *crush) killStaged() bool {
	q.t.Helper()
	for i := range q.hosts {
		if _, err := q.api(i, tightDay).Usage(q.t.Context()); err != nil {
			q.t.Fatal(err)
		}
	}
	unlock := q.books.lock()
	owned := q.owned()
	var wg sync.WaitGroup
	for i := range uploaders {
		wg.Go(func() {
			q.upload(q.t.Context(), i, tightDay, q.big, "one", plan.Options{Seed: int64(i), Gate: q.gatePath(openGate)})
		})
	}
	staged := poll(q.t, 5*time.Second, func() bool { return len(q.strangers(owned)) == uploaders })
	h := q.hosts[q.rng.IntN(len(q.hosts))]
	q.killHost(h)
	unlock()
	q.startHost(h)
	wg.Wait()
	return staged
}

// owned are the blobs that scans have.
func (q *crush) owned() map[string]bool {
	return q.books.names(`select distinct archive_blob from scans where archive_blob is not null`)
}

// strangers are the blobs on disk that are not among those, by their keys.
func (q *crush) strangers(owned map[string]bool) (out []string) {
	shards, _ := filepath.Glob(filepath.Join(q.dir, "data", "blobs", "*", "*"))
	for _, path := range shards {
		key := strings.ReplaceAll(filepath.Base(path), ".", "/")
		if !owned[key] && key != "origin" {
			out = append(out, key)
		}
	}
	return out
}

// exhaustDay takes what is left of a day.
func (q *crush) exhaustDay() {
	q.t.Helper()
	for i := range 1000 {
		o := plan.Options{Seed: int64(i), Gate: q.gatePath(openGate)}
		switch _, why := q.upload(q.t.Context(), i, tightDay, q.small, "one", o); why {
		case "":
		case "scans_per_day":
			return
		default:
			q.wrong("an upload to hosts that are well: %s", why)
		}
	}
}

// drain waits until every scan has ended and its archive is gone.
func (q *crush) drain() {
	q.t.Helper()
	none := func(left string) {
		q.t.Helper()
		count := "select count(*) from scans where " + left
		if !poll(q.t, 2*time.Minute, func() bool { return q.books.number(count) == 0 }) {
			q.t.Fatalf("%d scans have %s: %+v", q.books.number(count), left, q.books.sums(bookNow))
		}
	}
	none("finished_at is null")
	// A dead letter keeps its archive until an operator gives it up.
	testhost.Command(q.t, q.settings.binary, "--config", q.config, "queue", "drop", "--all")
	none("archive_removed_at is null")
	for name, h := range q.books.sums(bookNow) {
		if h.Scans = 0; h != (holds{}) {
			q.wrong("%s holds %+v though all has ended", name, h)
		}
	}
}

// forget deletes a tenant while its scans run and wait, and leaves another with
// some.
func (q *crush) forget() {
	q.t.Helper()
	for _, tenant := range []int{tightStorage, tightStorage, tightStorage, tightQueue, tightQueue, tightQueue} {
		if _, why := q.upload(q.t.Context(), 0, tenant, q.big, "one", plan.Options{Gate: q.gatePath(shutGate)}); why != "" {
			q.wrong("an upload into quotas that are empty again: %s", why)
		}
	}
	testhost.Command(q.t, q.settings.binary, "--config", q.config, "tenant", "delete", tenantName(tightQueue), "--yes")
	if !poll(q.t, time.Minute, func() bool {
		now := q.books.sums(bookNow)
		return now[tenantName(tightQueue)] == holds{} && now[tenantName(tightStorage)].Running == 2
	}) {
		q.t.Fatalf("the deleted tenant is still there, or another's jobs do not run: %+v", q.books.sums(bookNow))
	}
}

// audit compares the books with the ledger and with what the API and the command
// line say.
func (q *crush) audit() {
	q.t.Helper()
	now := q.books.sums(bookNow)
	books := maps.Clone(now)
	for name, h := range books {
		if h.Running = 0; !strings.HasPrefix(name, "tenant-") {
			delete(books, name) // gone, and its ledger with it
			if h.Scans = 0; h != (holds{}) {
				q.wrong("a tenant that is gone holds %+v", h)
			}
			continue
		}
		books[name] = h
	}
	if diff := cmp.Diff(books, q.books.sums(ledgerNow)); diff != "" {
		q.wrong("the ledger (-what rows did +ledger):\n%s", diff)
	}
	for _, tenant := range []int{tightStorage, tightDay} {
		u, err := q.api(tenant, tenant).Usage(q.t.Context())
		if err != nil {
			q.t.Fatal(err)
		}
		got := map[string]int64{}
		for _, quota := range u.Quotas {
			got[quota.Name] = quota.Used
		}
		if h := now[tenantName(tenant)]; got["storage_quota"] != h.Storage || got["queued_scans"] != h.Queued {
			q.wrong("GET /usage of %s: %v, the rows say %+v", tenantName(tenant), got, h)
		}
	}
	out := testhost.Command(q.t, q.settings.binary, "--config", q.config, "quota", "verify")
	if !strings.Contains(out, "Every quota adds up.") {
		q.wrong("quota verify: %s", out)
	}
}

// judge looks at every moment of the books.
func (q *crush) judge() {
	q.t.Helper()
	most := q.books.sums(bookMost)
	for i, limit := range tight() {
		name, over := tenantName(i), func(has, limit int64) bool { return limit > 0 && has > limit }
		if i == tightQueue { // it is gone
			for id := range most {
				if !strings.HasPrefix(id, "tenant-") {
					name = id
				}
			}
		}
		has := most[name]
		if over(has.Storage, limit.Storage) || over(has.Queued, limit.Queued) || over(has.Scans, limit.Scans) || over(has.Running, limit.Running) {
			q.wrong("%s held %+v at some time, of %+v", tenantName(i), has, limit)
		}
		q.t.Logf("%s held at most %+v of %+v", tenantName(i), has, limit)
		full := limit
		if full.Storage -= int64(len(q.big)); has.Storage < full.Storage || i == tightQueue && has.Queued < full.Queued || has.Scans < full.Scans || has.Running < full.Running {
			q.wrong("%s never came near its limits, so nothing was tried: %+v of %+v", tenantName(i), has, limit)
		}
	}
	for name, h := range q.books.sums(bookLeast) {
		if h.Storage < 0 || h.Queued < 0 || h.Running < 0 {
			q.wrong("%s held less than nothing: %+v", name, h)
		}
	}
	written := q.books.names(`select cast(scan as text) from chaos_books where scans = 1`)
	for id := range q.accepted {
		if !written[id] {
			q.wrong("scan %s was accepted and never stored", id)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(q.refused)) {
		switch why {
		case "storage_quota", "queued_scans", "scans_per_day", network, "canceled", http.StatusText(http.StatusServiceUnavailable):
		default:
			q.wrong("%d uploads ended with %s", q.refused[why], why)
		}
	}
	if n := q.books.number(`select count(*) from quota_ledger where reason in ('correct', 'found') and (storage <> 0 or queued <> 0)`); n != 0 {
		q.wrong("%d lines of the ledger correct it", n)
	}
}
