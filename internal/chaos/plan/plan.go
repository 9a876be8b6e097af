// Package plan says what the plugin of the chaos tests does in which attempt,
// and what it finds: the plugin acts on it and the tests check against it.
package plan

import (
	"math/rand/v2"
	"time"

	"github.com/securetaghq/securetag/host"
)

// Options are those of one job.
type Options struct {
	Seed int64 `json:"seed" doc:"Decides everything."`
	// Gate makes the job wait for the file of that name with "-" and the
	// attempt after it, and then succeed.
	Gate string `json:"gate" doc:"A file to wait for."`
	// Tame makes every attempt succeed.
	Tame bool `json:"tame" doc:"Always succeed."`
}

// Behaviour is how an attempt goes.
type Behaviour string

const (
	Succeed    Behaviour = "succeed"
	Slow       Behaviour = "slow"       // succeeds after more time than a lease has
	Crash      Behaviour = "crash"      // exits with 3 in the middle
	ExitZero   Behaviour = "exit zero"  // exits with 0 in the middle
	Hang       Behaviour = "hang"       // says nothing any more
	Miscount   Behaviour = "miscount"   // says that it found more than it sent
	Undeclared Behaviour = "undeclared" // sends one more finding, of a rule it has not
	Nonsense   Behaviour = "nonsense"   // ends with a status that there is not
	Fail       Behaviour = "fail"       // says that it failed and may be tried again
)

// of every hundred attempts
var shares = []struct { //nolint:gochecknoglobals // a table, never written
	b Behaviour
	n int
}{
	{Succeed, 72}, {Slow, 6}, {Crash, 7}, {ExitZero, 3}, {Hang, 3}, {Miscount, 3}, {Undeclared, 2}, {Nonsense, 1}, {Fail, 3},
}

// Delivers gives the state of a job whose attempt goes like this and ends well,
// "" where none does.
func (b Behaviour) Delivers() host.State {
	switch b {
	case Succeed, Slow:
		return host.StateSucceeded
	case Undeclared:
		return host.StatePartial
	default:
		return ""
	}
}

// Behave says how an attempt goes; the first is 1.
func (o Options) Behave(attempt int) Behaviour {
	if o.Tame || o.Gate != "" {
		return Succeed
	}
	n := rand.New(rand.NewPCG(uint64(o.Seed), uint64(attempt))).IntN(100)
	for _, s := range shares {
		if n -= s.n; n < 0 {
			return s.b
		}
	}
	return Succeed
}

// Delay is how long a slow attempt takes, for leases of 3 s.
func (o Options) Delay(attempt int) time.Duration {
	return 3200*time.Millisecond + time.Duration(uint64(o.Seed+int64(attempt))%1300)*time.Millisecond
}

// Findings is how many problems the job has. Few have more than a host keeps
// in memory.
func (o Options) Findings() int {
	switch n := int(uint64(o.Seed) % 40); n {
	case 39:
		return 1200
	default:
		return n / 2
	}
}

// Ranks gives how many findings of each severity there are, critical first.
func (o Options) Ranks() (n [5]int) {
	for i := range o.Findings() {
		n[Rank(i)]++
	}
	return n
}

// Rank is the severity of the finding numbered i: 0 for critical to 4.
func Rank(i int) int { return i % 5 }
