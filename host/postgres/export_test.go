package postgres

// Fenced are the statements that must find a job by its primary key whatever
// the statistics say, for the test that asks the planner.
var Fenced = map[string]string{
	"claim": claim, "heartbeat": heartbeat, "finish": finish, "insertFindings": insertFindings,
}
