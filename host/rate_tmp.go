package host

import "time"

// Rate is how often something may happen. The zero value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}
