package sdk_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/sdk"
)

// TestKeyed: it is the HMAC-SHA256 with the key of the request, in hex, as in every
// kit; and nothing without one.
func TestKeyed(t *testing.T) {
	t.Parallel()
	var got string
	srv, err := sdk.NewServer(sdk.Scanner[struct{}]{Name: "p", Version: "1.0.0", Consumes: []sdk.Input{sdk.Tree}, Rules: []sdk.Rule{{ID: "r"}},
		Scan: func(_ context.Context, _ *struct{}, t *sdk.Target, _ *sdk.Out) error {
			got = t.Keyed("a secret")
			return nil
		}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, srv)
	configure(t, c, "{}")
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte("a secret"))
	for key, want := range map[string]string{"key": hex.EncodeToString(mac.Sum(nil)), "": ""} {
		req := request("run"+key, t.TempDir())
		req.IdentityKey = []byte(key)
		stream, err := c.Scan(t.Context(), req)
		var r *recorder
		if err == nil {
			r, err = collect(stream)
		}
		if err != nil || r == nil || got != want {
			t.Errorf("with key %q: %q, %v, want %q", key, got, err, want)
		}
	}
}
