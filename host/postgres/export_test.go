package postgres

import "time"

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

// Outbox are the statements that write deliveries and claim them, with arguments.
// A tenant without webhooks must cost the first nothing, and a backlog the second.
var Outbox = map[string][]any{
	deriveScans + `(select scan_id from jobs where id = any($1::text[]::uuid[]))` + deriveEnd: {[]string{}},
	claimDeliveries: {10, "o", int64(1), []string{}, []string{}},
}
