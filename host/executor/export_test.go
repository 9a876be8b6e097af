package executor

// Inner parsers of outside input, for their tests.
var (
	ReadHandshake = readHandshake
	CopyLog       = copyLog
	ParseLog      = parseLog
)

// Tail is the end of a plugin's standard error.
type Tail = tail
