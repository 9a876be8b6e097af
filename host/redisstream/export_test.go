package redisstream

import "time"

// DecodeEvent is for its fuzz test.
var DecodeEvent = decodeEvent

// StartEmbeddedTick starts one that removes what is over its time this often.
func StartEmbeddedTick(tick time.Duration) (*Embedded, error) { return startEmbedded(tick) }
