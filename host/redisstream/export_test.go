package redisstream

// DecodeEvent is for its fuzz test.
var DecodeEvent = decodeEvent //nolint:gochecknoglobals // the test's way in
