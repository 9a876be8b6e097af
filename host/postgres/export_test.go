package postgres

// Fenced are the statements that must find a job by its primary key whatever
// the statistics say, for the test that asks the planner.
var Fenced = map[string]string{
	"claim": claim, "heartbeat": heartbeat, "finish": finish, "insertFindings": insertFindings,
}

// Retained are those of retention, which must find what is old by an index.
var Retained = map[string]string{
	"pickOldScans": pickOldScans, "pickOldArchives": pickOldArchives, "dropFindings": dropFindings,
	"dropScans": dropScans, "dropArchives": dropArchives, "unusedBlobs": unusedBlobs,
}
