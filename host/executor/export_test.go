package executor

import (
	"context"
	"time"
)

// Inner parsers of outside input, for their tests.
var (
	ReadHandshake = readHandshake
	CopyLog       = copyLog
	ParseLog      = parseLog
)

// Tail is the end of a plugin's standard error.
type Tail = tail

// Start starts a process of a plugin, tells how long that took to the answer of
// Describe, and stops it.
func (e *Executor) Start(ctx context.Context, name string) (time.Duration, error) {
	began := time.Now()
	proc, err := e.newProcess(e.keepers[name].plugin)
	if err != nil {
		return 0, err
	}
	defer proc.stop(false)
	if err := proc.connect(ctx); err != nil {
		return 0, err
	}
	err = proc.describe(ctx, "")
	return time.Since(began), err
}
