package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
)

// TestScanError: whatever a request says when its context ends, the user hears
// why the context ended.
func TestScanError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cause error
		code  int
		text  string
	}{
		{errWaitedTooLong, report.ExitTimeout, "Error: the scan did not end within --timeout (1m0s) and was canceled.\n"},
		{fmt.Errorf("%w: %w", errHostEnded, errors.New("disk full")), report.ExitServer, "Error: the host in this process ended before the scan did: disk full\n"},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(c.cause)
		var stderr bytes.Buffer
		err := (&program{stderr: &stderr}).scanError(ctx, scanFlags{timeout: time.Minute}, usageError{context.Canceled})
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != c.code || stderr.String() != c.text {
			t.Errorf("%v: %v, %q", c.cause, err, &stderr)
		}
	}
	refused := errors.New("refused")
	if err := (&program{}).scanError(t.Context(), scanFlags{}, refused); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}
