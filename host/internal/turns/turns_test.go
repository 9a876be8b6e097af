package turns_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host/internal/turns"
)

// TestTrouble: the first failure is said and the first success after it.
func TestTrouble(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	trouble := turns.Trouble{Log: hclog.New(&hclog.LoggerOptions{Output: &out}), What: "tidy"}
	bad := errors.New("no disk")
	for _, err := range []error{nil, bad, bad, nil, nil, bad} {
		trouble.Report(err)
	}
	if s := out.String(); strings.Count(s, "cannot tidy") != 2 || strings.Count(s, "can tidy again") != 1 {
		t.Errorf("it says:\n%s", s)
	}
}

func TestJitter(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if d := turns.Jitter(time.Second); d < time.Second/2 || d > 3*time.Second/2 {
			t.Fatal(d)
		}
	}
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !turns.Sleep(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("it slept %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if turns.Sleep(ctx, time.Minute) {
			t.Error("it slept longer than its context")
		}
	})
}
