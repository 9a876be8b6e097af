package executor

import "time"

// Inner parsers of outside input, for their tests.
var (
	ReadHandshake = readHandshake
	CopyLog       = copyLog
	ParseLog      = parseLog
)

// Tail is the end of a plugin's standard error.
type Tail = tail

// Breaker is what quarantines a plugin.
type Breaker struct{ b breaker }

func NewBreaker(r Restart) *Breaker { return &Breaker{breaker{limits: r}} }

func (b *Breaker) Blocks(now time.Time) error { return b.b.blocks(now) }
func (b *Breaker) Fail(now time.Time) bool    { return b.b.fail(now) }
func (b *Breaker) Lift()                      { b.b.lift() }

// Open is what a keeper does after Fail said so.
func (b *Breaker) Open(err error, until time.Time) { b.b.open, b.b.until = err, until }
