package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securetaghq/securetag/host"
)

func TestPauseValid(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", host.MaxPauseText+1)
	for p, want := range map[host.Pause]bool{
		{Kind: host.PauseAll}:                              true,
		{Kind: host.PausePlugin, Name: "p", Reason: "why"}: true,
		{Kind: host.PauseScanType, Name: long[1:]}:         true,
		{}:                                   false,
		{Kind: host.PauseAll, Name: "p"}:     false,
		{Kind: host.PausePlugin}:             false,
		{Kind: host.PauseScanType}:           false,
		{Kind: "tenant", Name: "t"}:          false,
		{Kind: host.PausePlugin, Name: long}: false,
		{Kind: host.PausePlugin, Name: "p", Reason: long}: false,
	} {
		if got := p.Valid(); got != want {
			t.Errorf("%.40v is valid: %v", p, got)
		}
	}
}

func TestPauseCovers(t *testing.T) {
	t.Parallel()
	for p, want := range map[host.Pause]bool{
		{Kind: host.PauseAll}:                       true,
		{Kind: host.PausePlugin, Name: "secrets"}:   true,
		{Kind: host.PausePlugin, Name: "web"}:       false,
		{Kind: host.PauseScanType, Name: "web"}:     true,
		{Kind: host.PauseScanType, Name: "secrets"}: false,
		{Name: "web"}: false,
	} {
		if got := p.Covers("secrets", "web"); got != want {
			t.Errorf("%+v covers plugin secrets in scan type web: %v", p, got)
		}
	}
}

func TestQueueTotal(t *testing.T) {
	t.Parallel()
	s := host.QueueStats{Groups: []host.QueueGroup{
		{Plugin: "a", Ready: 1, Waiting: 2, Out: 3, Running: 4, Dead: 5, OldestReady: time.Second},
		{Plugin: "b", Ready: 10, Waiting: 20, Out: 30, Running: 40, Dead: 50, OldestReady: time.Minute},
	}}
	want := host.QueueGroup{Ready: 11, Waiting: 22, Out: 33, Running: 44, Dead: 55, OldestReady: time.Minute}
	if got := s.Total(); got != want || got.Open() != 110 {
		t.Errorf("total %+v with %d open, want %+v with 110", got, got.Open(), want)
	}
}

// TestRefusals: each reason is a sentence for people.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, r := range []host.RefusalReason{host.RefusedNotDead, host.RefusedCanceled, host.RefusedNoInput} {
		if got := r.Explain(); got == string(r) || !strings.HasPrefix(got, "it") {
			t.Errorf("%s is explained as %q", r, got)
		}
	}
}
