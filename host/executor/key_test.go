package executor_test

import (
	"bytes"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
)

// TestIdentityKey: each tenant and plugin has a key of its own, the same in every
// scan, from which nobody learns the host's.
func TestIdentityKey(t *testing.T) {
	t.Parallel()
	host1, host2 := []byte("one"), []byte("two")
	mine := executor.IdentityKey(host1, host.Task{Tenant: "t", Plugin: "p", Scan: "1"})
	if again := executor.IdentityKey(host1, host.Task{Tenant: "t", Plugin: "p", Scan: "2"}); !bytes.Equal(mine, again) || len(mine) != 32 {
		t.Errorf("keys %x and %x of two scans", mine, again)
	}
	for what, other := range map[string][]byte{
		"another tenant": executor.IdentityKey(host1, host.Task{Tenant: "u", Plugin: "p"}),
		"another plugin": executor.IdentityKey(host1, host.Task{Tenant: "t", Plugin: "q"}),
		"another host":   executor.IdentityKey(host2, host.Task{Tenant: "t", Plugin: "p"}),
		"neither":        executor.IdentityKey(host1, host.Task{Tenant: "tp", Plugin: ""}),
		"no key":         executor.IdentityKey(nil, host.Task{Tenant: "t", Plugin: "p"}),
	} {
		if bytes.Equal(mine, other) {
			t.Errorf("%s has the same key", what)
		}
	}
}
