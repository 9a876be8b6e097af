package main

import (
	"errors"
	"testing"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/sdk/wire"
)

// TestAttach: only a plugin that is in development is dialled, and no other's
// block is touched. It sets the environment, so it is not parallel.
func TestAttach(t *testing.T) {
	cfg := config.Config{Plugins: map[string]config.Plugin{"mine": {Dev: true}, "pinned": {}}}
	for name, want := range map[string]error{"mine": nil, "pinned": host.ErrInvalid, "nobody": host.ErrInvalid} {
		t.Setenv(wire.ReattachKey, `{"`+name+`":{"network":"unix","address":"/run/s","pid":1}}`)
		ec := executor.Config{Plugins: []executor.Plugin{{Name: "mine"}, {Name: "pinned"}}}
		if err := attach(&ec, cfg); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if at := ec.Plugins[0].Attach; (at != nil) != (name == "mine") || ec.Plugins[1].Attach != nil {
			t.Errorf("%s: attached %+v", name, ec.Plugins)
		}
	}
}
