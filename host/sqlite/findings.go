package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// detail is what of a finding is only shown, never searched.
type detail struct {
	Confidence host.Confidence `json:"confidence,omitempty"`
	Location   host.Location   `json:"location"`
	Snippet    string          `json:"snippet,omitempty"`
	CWE        []int           `json:"cwe,omitempty"`
	Tags       []string        `json:"tags,omitempty"`
	References []string        `json:"references,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
}

// encodeDetail also checks: what a plugin said must not break a page of JSON.
func encodeDetail(f host.Finding) string {
	d := detail{Confidence: host.Confidence(clean(string(f.Confidence))), Location: f.Location, Snippet: clean(f.Snippet),
		CWE: f.CWE, Tags: cleanAll(f.Tags), References: cleanAll(f.References)}
	d.Location.Path, d.Location.URL = clean(f.Location.Path), clean(f.Location.URL)
	if p := clean(string(f.Properties)); json.Valid([]byte(p)) {
		d.Properties = json.RawMessage(p)
	}
	return encode(d)
}

// addFindings stores findings of a leased job. Those that are there already
// stay: the caller may send a batch again whose answer it did not get.
func (tx tx) addFindings(ctx context.Context, j leased, batch []host.Finding) error {
	if len(batch) == 0 {
		return nil
	}
	put, err := tx.PrepareContext(ctx, `insert into findings (id, tenant_id, scan_id, job_id, lease_epoch,
			severity, rule_id, fingerprint, title, message, detail, created_at)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (scan_id, severity, id) do nothing`)
	if err != nil {
		return err
	}
	defer func() { _ = put.Close() }()
	for _, f := range batch {
		if !isID(f.ID) {
			f.ID = host.NewFindingID()
		}
		_, err := put.ExecContext(ctx, string(f.ID), string(j.tenant), string(j.scan), string(j.id), j.epoch,
			f.Severity.Rank(), clean(f.RuleID), clean(f.Fingerprint), clean(f.Title), clean(f.Message), encodeDetail(f), tx.now)
		if err != nil {
			return err
		}
	}
	return nil
}

// AddFindings implements host.JobStore.
func (s *Store) AddFindings(ctx context.Context, l host.Lease, batch []host.Finding) error {
	return s.write(ctx, fmt.Sprintf("keep findings of job %.64q", string(l.Job)), func(ctx context.Context, tx tx) error {
		j, err := tx.leased(ctx, l)
		if err != nil {
			return err
		}
		return tx.addFindings(ctx, j, batch)
	})
}

// findings takes tenant, scan, the only rank or null, the rank and id to
// continue behind, and a limit.
const findings = `
select f.id, f.scan_id, f.job_id, j.plugin, f.severity, f.rule_id, f.fingerprint, f.title, f.message, f.detail, f.created_at
from findings f
join jobs j on j.id = f.job_id and j.result_epoch = f.lease_epoch
where f.scan_id = ?2 and f.tenant_id = ?1 and (?3 is null or f.severity = ?3) and (f.severity, f.id) > (?4, ?5)
order by f.severity, f.id limit ?6`

// Findings implements host.ScanStore.
func (s *Store) Findings(ctx context.Context, t host.TenantID, id host.ScanID, q host.FindingQuery) (all []host.Finding, err error) {
	op := fmt.Sprintf("list findings of scan %.64q", string(id))
	after := host.FindingCursor{Rank: -1}
	if q.After != nil {
		after = *q.After
		if !isID(after.ID) || after.Rank < 0 || after.Rank >= len(host.Severities()) {
			return nil, fmt.Errorf("%s: cursor %d, %.64q: %w", op, after.Rank, string(after.ID), host.ErrInvalid)
		}
	}
	var only *int
	if q.Severity != "" {
		only = new(q.Severity.Rank())
	}
	var one int
	err = s.readers.QueryRowContext(ctx, `select 1 from scans where tenant_id = ? and id = ?`, string(t), string(id)).Scan(&one)
	if err == nil {
		err = rows(ctx, s.readers, func(r *sql.Rows) error {
			f, err := toFinding(r)
			all = append(all, f)
			return err
		}, findings, string(t), string(id), only, after.Rank, string(after.ID), limit(q.Limit, 100, 1000))
	}
	if err != nil {
		return nil, translate(ctx, op, err)
	}
	return all, nil
}

func toFinding(r *sql.Rows) (f host.Finding, err error) {
	var rank int
	var more text
	err = r.Scan(&f.ID, &f.ScanID, &f.JobID, &f.Plugin, &rank, &f.RuleID, &f.Fingerprint, &f.Title, &f.Message, &more, at(&f.CreatedAt))
	if err != nil {
		return f, err
	}
	var d detail
	if err := object("detail", more, &d); err != nil {
		return f, err
	}
	f.Severity = host.Severities()[rank]
	f.Confidence, f.Location, f.Snippet, f.CWE = d.Confidence, d.Location, d.Snippet, d.CWE
	f.Tags, f.References, f.Properties = d.Tags, d.References, d.Properties
	return f, nil
}
