package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/intake"
)

// TestPermit: a target that may not be scanned is refused before anything is
// stored; a request that was accepted before has its answer all the same.
func TestPermit(t *testing.T) {
	t.Parallel()
	s := &keys{}
	s.known = map[[32]byte]*host.Earlier{}
	types := []intake.ScanType{{Name: "dast", Input: host.InputURL, Plugins: []string{"probe"}, Timeout: time.Minute, Attempts: 1}}
	down, may := errors.New("down"), error(nil)
	in, err := intake.New(s, nil, nil, types, func() {}, intake.Config{Permit: func(_ context.Context, _ host.TenantID, url string) error {
		if url != "https://example.com/" {
			t.Errorf("asked for %q", url)
		}
		return may
	}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	req := request(host.NewTenantID(), "k")
	accept := func() (host.ScanID, bool, error) {
		return asked(in.AcceptURL(t.Context(), req, "https://example.com/"))
	}

	may = fmt.Errorf("prove it: %w", host.ErrNotPermitted)
	var refusal *intake.Refusal
	if _, _, err := accept(); !errors.Is(err, host.ErrNotPermitted) || !errors.As(err, &refusal) || refusal.Field != "url" || !strings.HasPrefix(refusal.Detail, "prove it") {
		t.Errorf("not permitted: %v", err)
	}
	may = down
	if _, _, err := accept(); !errors.Is(err, down) {
		t.Errorf("nobody knows: %v", err)
	}
	may = nil
	first, replayed, err := accept()
	if err != nil || replayed {
		t.Errorf("permitted: replayed %t, %v", replayed, err)
	}
	may = fmt.Errorf("not any more: %w", host.ErrNotPermitted)
	if again, replayed, err := accept(); err != nil || !replayed || again != first {
		t.Errorf("again: %s, replayed %t, %v, want %s", again, replayed, err, first)
	}
	req.Key = nil
	if _, _, err := accept(); !errors.Is(err, host.ErrNotPermitted) {
		t.Errorf("another one: %v", err)
	}
}

func (k *keys) Earlier(_ context.Context, _ host.TenantID, key [32]byte) (*host.Earlier, error) {
	if e, ok := k.known[key]; ok {
		return e, nil
	}
	return nil, host.ErrNotFound
}
