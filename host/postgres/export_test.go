package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/securetaghq/securetag/host"
)

// Overviews are the statements that must never read the jobs that have ended,
// with arguments.
var Overviews = map[string][]any{
	stats:       nil,
	deadLetters: {"", "", "", time.Now(), "ffffffff-ffff-ffff-ffff-ffffffffffff", 50},
}

// Planning are the settings under which every statement is planned.
var Planning = planning

// Fenced are the statements that must find a job by its primary key whatever
// the statistics say, for the test that asks the planner.
var Fenced = map[string]string{
	"claim": claim, "heartbeat": heartbeat, "finish": finish, "finishNoting": finishNoting, "insertFindings": insertFindings,
}

// Retained are those of retention, which must find what is old by an index.
var Retained = map[string]string{
	"pickOldScans": pickOldScans, "pickOldArchives": pickOldArchives, "dropFindings": dropFindings,
	"dropScans": dropScans, "dropArchives": dropArchives, "unusedBlobs": unusedBlobs,
	"pickDeleted": pickDeleted, "mark": mark,
}

// The statements that look for work, for the same test, and what Accept does for
// lanes.
const (
	DispatchStatement = dispatch
	DispatchSettings  = dispatchSettings
	PickExpired       = pickExpired
	PickOverdue       = pickOverdue
	Releasable        = releasable
	MendLanes         = mendLanes
	KeepLanes         = keepLanes
)

// Listed are the statements that list a project's findings.
var Listed = map[string]string{"examined": examined, "projectFindings": projectFindings}

// PickUntracked is how Track finds a scan.
const PickUntracked = pickUntracked

// MarkAtOnce is how many scans of a project get their mark at once.
const MarkAtOnce = markAtOnce

// AsTenant takes a tenant and begins its context.
const AsTenant = asTenant

// TenantReads are statements that take a tenant and one of its scans.
func TenantReads() map[string]string {
	limited := strings.NewReplacer("$3::smallint is null or f.severity = $3::smallint", "true", "(f.severity, f.id) > ($4::smallint, $5::uuid)", "true", "$6", "10", "$7::text = '' or j.plugin = $7::text", "true")
	return map[string]string{
		"scanWithJobs": scanWithJobs, "shownScan": shownScan, "artifacts": artifacts, "findings": limited.Replace(findings),
	}
}

// CountAs counts the rows of a statement in a tenant's context.
func (s *Store) CountAs(ctx context.Context, t host.TenantID, sql string, args ...any) (n int, err error) {
	err = s.tenantRead(ctx, "test", t, func(b *pgx.Batch) {
		b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
			for n = 0; rows.Next(); n++ {
			}
			return rows.Err()
		})
	})
	return n, err
}

// Confine lets the store use row-level security or not, to measure what that costs.
func (s *Store) Confine(in bool) {
	s.unconfined = map[bool]error{true: nil, false: errors.ErrUnsupported}[in]
}

// Outbox are the statements that write deliveries and claim them, with arguments.
// A tenant without webhooks must cost the first nothing, and a backlog the second.
var Outbox = map[string][]any{
	deriveScans + `(select scan_id from jobs where id = any($1::text[]::uuid[]))` + deriveEnd: {[]string{}},
	claimDeliveries: {10, "o", int64(1), []string{}, []string{}},
}

// AnalyzeEvery is after how many rows a store looks at what the planner knows, and
// Growing are the tables of which.
const AnalyzeEvery = analyzeEvery

var Growing = growing

// StopAnalyzing leaves ANALYZE to others.
func (s *Store) StopAnalyzing() { s.stopAnalyzing() }

// Grew is told of rows as if the store had added them.
func (s *Store) Grew(rows int) { s.grew(context.Background(), rows) }
