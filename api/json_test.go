package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/securetaghq/securetag/api"
)

// TestWholeNumbers: 60.0 is an integer, as the document's schema has it, and what
// is none is refused in words that say nothing of this host's inside.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	e := newEnv(t, api.Config{})
	for number, want := range map[string]int{"60.0": 201, "60": 201, "6e1": 422, "60.5": 422, "1e300": 422, "-1.0": 422} {
		resp, body := e.ask(t, http.MethodPost, "/keys", map[string]string{"Content-Type": "application/json"}, `{"name": "1.0", "expires_in_seconds": `+number+`}`)
		if resp.StatusCode != want || strings.Contains(body, "Go ") || want == 201 && !strings.Contains(body, `"1.0"`) {
			t.Errorf("%s: status %d, want %d: %s", number, resp.StatusCode, want, body)
		}
	}
}
