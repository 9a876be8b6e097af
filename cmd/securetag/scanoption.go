package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/securetaghq/securetag/host/intake"
)

// parseOptions reads NAME=VALUE each. VALUE is JSON, or else a string as it
// stands: depth=3 is a number, mode=fast a string, and tag='"3"' one as well. nil
// when there are none. What the scan type takes only its host knows.
func parseOptions(args []string) (json.RawMessage, error) {
	if len(args) == 0 {
		return nil, nil
	}
	out := map[string]any{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		switch _, twice := out[name]; {
		case !ok || name == "":
			return nil, fmt.Errorf("--option %.64q: write NAME=VALUE, such as depth=3", arg)
		case twice:
			return nil, fmt.Errorf("--option %.64q is given twice", name)
		}
		out[name] = value
		if json.Valid([]byte(value)) {
			out[name] = json.RawMessage(value)
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("--option: %w", err)
	}
	if _, err := intake.ParseOptions(text); err != nil {
		return nil, fmt.Errorf("--option: %w", err)
	}
	return text, nil
}
