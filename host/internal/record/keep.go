package record

import (
	"maps"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Keep is how long scans are kept, in microseconds: at most, and by plan. 0 is
// for ever; what is above 0 stays above it.
func Keep(k host.Keep) (most int64, plans []string, ages []int64) {
	for _, name := range slices.Sorted(maps.Keys(k.Plans)) {
		plans, ages = append(plans, Clean(name)), append(ages, age(k.Plans[name]))
	}
	return age(k.Most), plans, ages
}

func age(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return max(1, Micros(d))
}
