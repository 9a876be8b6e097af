package migrations_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/migrations"
)

// The ids of the rows that TestConstraints starts from: tenants 1 and 2, scans
// 3 (tenant 1) and 4 (tenant 2), jobs 5 (scan 3) and 6 (scan 4).
const base = `
insert into tenants (id, name, created_at) values (<1>, 'one', <now>), (<2>, 'two', <now>);
insert into api_keys (id, tenant_id, name, prefix, hash, created_at) values (<7>, <1>, 'k', 'p', <hash>, <now>);
insert into webhooks (id, tenant_id, url, events, secret, created_at) values (<7>, <1>, 'u', 'e', 's', <now>);
insert into scans (id, tenant_id, type, url, created_at) values (<3>, <1>, 'web', 'u', <now>), (<4>, <2>, 'web', 'u', <now>);
insert into jobs (id, tenant_id, scan_id, ordinal, plugin, max_attempts, timeout_us, created_at, run_at)
values (<5>, <1>, <3>, 0, 'p', 3, 1, <now>, <now>), (<6>, <2>, <4>, 0, 'p', 3, 1, <now>, <now>);
insert into audit (id, at, actor, name, action) values (<8>, <young>, 'a', 'n', 'young'), (<9>, <old>, 'a', 'n', 'old')`

const finding = `insert into findings (id, tenant_id, scan_id, job_id, lease_epoch, severity, rule_id, fingerprint, title, message, detail, created_at)`

const artifact = `insert into artifacts (id, tenant_id, scan_id, job_id, name, media_type, size, sha256, blob, created_at)`

const attempt = `insert into attempts (scan_id, tenant_id, job_id, lease_epoch, attempt, owner, started_at, ended_at, state, crashed, released)`

const request = `insert into accepted_requests (tenant_id, key, digest, scan_id, scan, created_at)`

const deletion = `insert into deletions (id, tenant_id, scan_id, project, created_at)`
const webhook = `insert into webhooks (id, tenant_id, url, events, secret, created_at)`

const delivery = `insert into webhook_deliveries (id, tenant_id, webhook_id, event, data, created_at, next_at, state, attempts, lease_id, lease_owner)`

const operatorKey = `insert into operator_keys (id, name, prefix, hash, created_at)`

// running takes a job, with some columns set otherwise.
func running(otherwise string) string {
	set := []string{"state = 'running'", "attempt = 1", "lease_epoch = 1", "lease_id = <9>", "lease_owner = 'o'",
		"lease_expires_at = <now>", "started_at = <now>", "deadline_at = <now>"}
	for o := range strings.SplitSeq(otherwise, ", ") {
		column, _, _ := strings.Cut(o, " ")
		set = slices.DeleteFunc(set, func(s string) bool { return o != "" && strings.HasPrefix(s, column+" ") })
		if o != "" {
			set = append(set, o)
		}
	}
	return "update jobs set " + strings.Join(set, ", ") + " where id = <5>"
}

// legal and illegal are single statements on the base rows.
var (
	legal = map[string]string{
		"old audit line removed": `delete from audit where action = 'old'`,
		"running":                running(``),
		"succeeded":              `update jobs set state = 'succeeded', finished_at = <now>, lease_epoch = 2, result_epoch = 2 where id = <5>`,
		"failed":                 `update jobs set state = 'failed', finished_at = <now>, error = '{}' where id = <5>`,
		"canceled":               `update jobs set state = 'canceled', finished_at = <now> where id = <5>`,
		"dispatched":             `update jobs set dispatched_at = <now> where id = <5>`,
		"released":               `update jobs set lease_epoch = 4, started_at = <now>, deadline_at = <now> where id = <5>`,
		"finished scan":          `update scans set state = 'partial', finished_at = <now> where id = <3>`,
		"scan of an archive":     `update scans set url = null, archive = '{}' where id = <3>`,
		"scan with a blob":       `update scans set url = null, archive = '{}', archive_blob = 'b' where id = <3>`,
		"archive removed":        `update scans set url = null, archive = '{}', archive_removed_at = <now> where id = <3>`,
		"finding":                finding + ` values (<9>, <1>, <3>, <5>, 1, 5, 'r', 'f', 't', 'm', '{}', <now>)`,
		"artifact":               artifact + ` values (<9>, <1>, <3>, <5>, 'n', 'a/b', 0, '', 'k', <now>)`,
		"dead letter":            `update jobs set state = 'failed', finished_at = <now>, dead_at = <now>, error = '{}' where id = <5>`,
		"attempt":                attempt + ` values (<3>, <1>, <5>, 1, 1, 'o', <now>, <now>, 'queued', false, false)`,
		"pause of a plugin":      `insert into pauses (kind, name, created_at) values ('plugin', 'p', <now>)`,
		"request":                request + ` values (<1>, <hash>, <hash>, <3>, '{}', <now>)`,
		"pause of all":           `insert into pauses (kind, name, created_at) values ('all', '', <now>)`,
		"operator's key":         operatorKey + ` values (<9>, 'n', 'p', <hash>, <now>)`,
		"deletion of a scan":     deletion + ` values (<9>, <1>, <3>, null, <now>)`,
		"deletion of a project":  deletion + ` values (<9>, <1>, null, 'p', <now>)`,
		"webhook":                webhook + ` values (<9>, <2>, 'u', 'e', 's', <now>)`,
		"delivery":               delivery + ` values (<9>, <1>, <7>, 'e', '{}', <now>, <now>, 'pending', 1, <8>, 'o')`,
		"no scan, no jobs":       `delete from scans where id = <3>`,
	}
	illegal = map[string]string{
		"tenant's name taken":        `update tenants set name = 'two' where id = <1>`,
		"tenant's name in capitals":  `update tenants set name = 'One' where id = <1>`,
		"tenant's name empty":        `update tenants set name = '' where id = <1>`,
		"tenant's name with a dash":  `update tenants set name = '-x' where id = <1>`,
		"tenant's name too long":     `update tenants set name = '` + strings.Repeat("a", 64) + `' where id = <1>`,
		"tenant with scans deleted":  `delete from tenants where id = <1>`,
		"key without tenant":         `update api_keys set tenant_id = <9>`,
		"key with a short hash":      `update api_keys set hash = <short>`,
		"key's hash taken":           `insert into api_keys (id, tenant_id, name, prefix, hash, created_at) values (<9>, <1>, 'k', 'p', <hash>, <now>)`,
		"scan of no tenant":          `update scans set tenant_id = <9> where id = <3>`,
		"scan's state unknown":       `update scans set state = 'lost' where id = <3>`,
		"scan without a type":        `update scans set type = '' where id = <3>`,
		"scan without an input":      `update scans set url = null where id = <3>`,
		"scan with two inputs":       `update scans set archive = '{}' where id = <3>`,
		"scan final, not finished":   `update scans set state = 'failed' where id = <3>`,
		"scan finished, not final":   `update scans set finished_at = <now> where id = <3>`,
		"blob of a URL":              `update scans set archive_blob = 'b' where id = <3>`,
		"blob without a key":         `update scans set url = null, archive = '{}', archive_blob = '' where id = <3>`,
		"archive of a URL removed":   `update scans set archive_removed_at = <now> where id = <3>`,
		"removed with its blob":      `update scans set url = null, archive = '{}', archive_blob = 'b', archive_removed_at = <now> where id = <3>`,
		"job's state unknown":        `update jobs set state = 'lost' where id = <5>`,
		"job of another's scan":      `update jobs set tenant_id = <2> where id = <5>`,
		"job of no scan":             `update jobs set scan_id = <9> where id = <5>`,
		"job without a plugin":       `update jobs set plugin = '' where id = <5>`,
		"job without attempts":       `update jobs set max_attempts = 0 where id = <5>`,
		"job without a timeout":      `update jobs set timeout_us = 0 where id = <5>`,
		"attempt over its maximum":   `update jobs set attempt = 4 where id = <5>`,
		"attempt below zero":         `update jobs set attempt = -1 where id = <5>`,
		"crashes below zero":         `update jobs set crashes = -1 where id = <5>`,
		"epoch below zero":           `update jobs set lease_epoch = -1 where id = <5>`,
		"running without a lease":    `update jobs set state = 'running' where id = <5>`,
		"leased, not running":        `update jobs set lease_id = <9>, lease_owner = 'o', lease_expires_at = <now> where id = <5>`,
		"lease without an owner":     running(`lease_owner = null`),
		"lease without an end":       running(`lease_expires_at = null`),
		"owner without a lease":      `update jobs set lease_owner = 'o' where id = <5>`,
		"running, never attempted":   running(`attempt = 0`),
		"running, never claimed":     running(`lease_epoch = 0`),
		"running, never started":     running(`started_at = null, deadline_at = null`),
		"running and dispatched":     running(`dispatched_at = <now>`),
		"started without a deadline": `update jobs set started_at = <now> where id = <5>`,
		"final, not finished":        `update jobs set state = 'canceled' where id = <5>`,
		"finished, not final":        `update jobs set finished_at = <now> where id = <5>`,
		"failed without a reason":    `update jobs set state = 'failed', finished_at = <now> where id = <5>`,
		"timed out without a reason": `update jobs set state = 'timed_out', finished_at = <now> where id = <5>`,
		"succeeded without a result": `update jobs set state = 'succeeded', finished_at = <now> where id = <5>`,
		"failed with a result":       `update jobs set state = 'failed', finished_at = <now>, error = '{}', result_epoch = 0 where id = <5>`,
		"result of another epoch":    `update jobs set state = 'succeeded', finished_at = <now>, lease_epoch = 2, result_epoch = 1 where id = <5>`,
		"dead letter, not failed":    `update jobs set dead_at = <now> where id = <5>`,
		"audit line changed":         `update audit set outcome = 'never'`,
		"audit line counted again":   `update audit set times = times + 1`,
		"young audit line removed":   `delete from audit where action = 'young'`,
		"whole audit log removed":    `delete from audit`,
		"deleted, not suspended":     `update tenants set deleted_at = <now>, suspended_at = null where id = <1>`,
		"key without scopes":         `update api_keys set scopes = ''`,
		"attempt of no job":          attempt + ` values (<3>, <1>, <8>, 1, 1, 'o', <now>, <now>, 'queued', false, false)`,
		"attempt of another tenant":  attempt + ` values (<3>, <2>, <5>, 1, 1, 'o', <now>, <now>, 'queued', false, false)`,
		"attempt that delivered":     attempt + ` values (<3>, <1>, <5>, 1, 1, 'o', <now>, <now>, 'succeeded', false, false)`,
		"attempt of no epoch":        attempt + ` values (<3>, <1>, <5>, 0, 1, 'o', <now>, <now>, 'queued', false, false)`,
		"webhook of no tenant":       webhook + ` values (<9>, <9>, 'u', 'e', 's', <now>)`,
		"webhook to nowhere":         webhook + ` values (<9>, <1>, '', 'e', 's', <now>)`,
		"webhook of no event":        webhook + ` values (<9>, <1>, 'u', '', 's', <now>)`,
		"webhook without a secret":   webhook + ` values (<9>, <1>, 'u', 'e', '', <now>)`,
		"old secret without an end":  `update webhooks set old_secret = 's'`,
		"delivery of no webhook":     delivery + ` values (<9>, <1>, <8>, 'e', '{}', <now>, <now>, 'pending', 0, null, null)`,
		"delivery to another's":      delivery + ` values (<9>, <2>, <7>, 'e', '{}', <now>, <now>, 'pending', 0, null, null)`,
		"delivery's state unknown":   delivery + ` values (<9>, <1>, <7>, 'e', '{}', <now>, <now>, 'lost', 0, null, null)`,
		"delivered and leased":       delivery + ` values (<9>, <1>, <7>, 'e', '{}', <now>, <now>, 'delivered', 1, <8>, 'o')`,
		"delivery leased to nobody":  delivery + ` values (<9>, <1>, <7>, 'e', '{}', <now>, <now>, 'pending', 1, <8>, null)`,
		"attempts below zero":        delivery + ` values (<9>, <1>, <7>, 'e', '{}', <now>, <now>, 'pending', -1, null, null)`,
		"attempt, the first is 1":    attempt + ` values (<3>, <1>, <5>, 1, 0, 'o', <now>, <now>, 'queued', false, false)`,
		"pause of a tenant":          `insert into pauses (kind, name, created_at) values ('tenant', 't', <now>)`,
		"pause of no plugin":         `insert into pauses (kind, name, created_at) values ('plugin', '', <now>)`,
		"pause of all by name":       `insert into pauses (kind, name, created_at) values ('all', 'p', <now>)`,
		"operator's key, short hash": operatorKey + ` values (<9>, 'n', 'p', <short>, <now>)`,
		"request of another tenant":  request + ` values (<2>, <hash>, <hash>, <3>, '{}', <now>)`,
		"request of no scan":         request + ` values (<1>, <hash>, <hash>, <9>, '{}', <now>)`,
		"request with a short key":   request + ` values (<1>, <short>, <hash>, <3>, '{}', <now>)`,
		"request, short digest":      request + ` values (<1>, <hash>, <short>, <3>, '{}', <now>)`,
		"deletion of nothing":        deletion + ` values (<9>, <1>, null, null, <now>)`,
		"deletion of both":           deletion + ` values (<9>, <1>, <3>, 'p', <now>)`,
		"deletion of no project":     deletion + ` values (<9>, <1>, null, '', <now>)`,
		"deletion of no tenant":      deletion + ` values (<9>, <9>, <3>, null, <now>)`,
		"finding of no job":          finding + ` values (<9>, <1>, <3>, <8>, 1, 5, 'r', 'f', 't', 'm', '{}', <now>)`,
		"finding of another's job":   finding + ` values (<9>, <1>, <3>, <6>, 1, 5, 'r', 'f', 't', 'm', '{}', <now>)`,
		"finding of another tenant":  finding + ` values (<9>, <2>, <3>, <5>, 1, 5, 'r', 'f', 't', 'm', '{}', <now>)`,
		"finding without a severity": finding + ` values (<9>, <1>, <3>, <5>, 1, 6, 'r', 'f', 't', 'm', '{}', <now>)`,
	}
)

// TestConstraints checks that the database itself refuses every row to which
// no legal sequence of operations leads.
func TestConstraints(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d dialect, dsn string) {
		if _, err := migrations.Up(t.Context(), d.open(t, dsn)); err != nil {
			t.Fatal(err)
		}
		db := d.db(t, dsn)
		if _, err := db.ExecContext(t.Context(), d.fill(base)); err != nil {
			t.Fatal(err)
		}
		try := func(statement string) error {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			r, err := tx.ExecContext(t.Context(), d.fill(statement))
			if err == nil {
				if n, err := r.RowsAffected(); err != nil || n == 0 {
					t.Errorf("%s: touched %d rows, %v", statement, n, err)
				}
			}
			return err
		}
		for name, statement := range legal {
			if err := try(statement); err != nil {
				t.Errorf("%s: refused: %v", name, err)
			}
		}
		for name, statement := range illegal {
			err := try(statement)
			if err == nil {
				t.Errorf("%s: accepted", name)
			} else if text := strings.ToLower(err.Error()); !strings.Contains(text, "constraint") {
				t.Errorf("%s: refused for another reason: %v", name, err)
			}
		}
	})
}

// fill writes the ids, times and hashes of a statement.
func (d dialect) fill(statement string) string {
	young, old := "4000000000000000", "0" // the trigger's clock is the real one
	hash, short := "x'"+strings.Repeat("ab", 32)+"'", "x'ab'"
	if d.driver == "pgx" {
		young, old = "now() - interval '364 days'", "now() - interval '366 days'"
		hash, short = `'\x`+strings.Repeat("ab", 32)+`'::bytea`, `'\xab'::bytea`
	}
	pairs := []string{"<now>", d.now, "<young>", young, "<old>", old, "<hash>", hash, "<short>", short}
	for _, n := range "123456789" {
		pairs = append(pairs, "<"+string(n)+">", "'00000000-0000-7000-8000-00000000000"+string(n)+"'")
	}
	return strings.NewReplacer(pairs...).Replace(statement)
}

// runs gives what executes statements, filled in, that must succeed.
func (d dialect) runs(t *testing.T, db *sql.DB) func(statement string) {
	return func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), d.fill(statement)); err != nil {
			t.Fatal(err)
		}
	}
}
