package client

// How a host, or one of the servers it needs, is.
const (
	Ready       = "ready"
	Degraded    = "degraded"    // scans are accepted, and wait
	Unavailable = "unavailable" // scans are not accepted
)

// Health says that the process serves.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// Readiness says whether the host can accept scans.
type Readiness struct {
	Status string           `json:"status" enum:"ready,degraded,unavailable"`
	Checks map[string]Check `json:"checks" doc:"The servers that the host needs, database and queue, and its configuration."`
}

// Check is how one of them is.
type Check struct {
	Status string `json:"status" enum:"ready,degraded,unavailable"`
	Detail string `json:"detail,omitempty"`
}
