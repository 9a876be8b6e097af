package conformance

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

func startChecks() []check {
	return []check{
		must("start.cookie", anyStage, "Started by hand it explains itself and exits with a code other than 0",
			"Look for SECURETAG_PLUGIN in the environment first. Without it print what this program is, and exit with 1.",
			guide("Other languages, step 1"), (*kit).refusesByHand),
		must("start.handshake", anyStage, "It prints one handshake line that the host takes",
			"Listen on a unix socket in PLUGIN_UNIX_SOCKET_DIR, then print 1|1|unix|PATH|grpc with a line end and flush it.",
			guide("Other languages, steps 2 to 5"), (*kit).startsUp),
	}
}

func outputChecks() []check {
	return []check{
		must("output.stdout", started, "Standard output has the handshake and nothing else",
			"Print nothing but the handshake on standard output. Log to standard error.",
			guide("Rules of the contract, 13"), (*kit).cleanStdout),
		must("output.stderr", started, "Standard error is a log: plain lines, or JSON with @level and @message as text",
			`Write one JSON object a line whose "@level" and "@message" are strings, or plain UTF-8 text.`,
			guide("Other languages, step 6"), (*kit).logsWell),
	}
}

func (k *kit) startsUp(_ context.Context) outcome {
	if k.startErr != nil {
		return failed("%v", k.startErr)
	}
	return pass()
}

// logsWell judges what was logged up to the end of the trees' scans.
func (k *kit) logsWell(ctx context.Context) outcome {
	if k.configErr == nil && k.descErr == nil {
		if _, err := k.transcripts(ctx); err != nil {
			return k.trouble(err)
		}
	}
	for _, line := range k.stderr.all() {
		if why := badLog(line); why != "" {
			return failed("a line that %s: %s", why, quote(line))
		}
	}
	return pass()
}

// badLog says what is wrong with a line of standard error, "" when nothing is.
func badLog(line string) string {
	if !utf8.ValidString(line) {
		return "is not UTF-8"
	}
	var entry map[string]json.RawMessage
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &entry) != nil {
		return "" // plain text
	}
	for _, key := range []string{"@level", "@message", "@timestamp"} {
		var text string
		if raw, there := entry[key]; there && json.Unmarshal(raw, &text) != nil {
			return "has a " + key + " that is not text"
		}
	}
	if _, message := entry["@message"]; !message {
		return "is JSON without @message"
	}
	return ""
}
