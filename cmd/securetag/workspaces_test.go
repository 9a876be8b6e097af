package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/workspace"
)

// TestPrepareWithoutItsArchive: a job that is tried again after retention took
// the archive says so, and is not tried once more.
func TestPrepareWithoutItsArchive(t *testing.T) {
	t.Parallel()
	disk, err := workspace.New(t.TempDir(), workspace.Limits{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	removed := &host.Archive{Blob: "archives/gone", RemovedAt: time.Now()}
	_, err = workspaces{disk: disk}.Prepare(t.Context(), host.Claim{
		Job: host.Job{ID: host.NewJobID()}, Scan: host.Scan{ID: host.NewScanID(), Input: host.Input{Archive: removed}},
	})
	var fault *host.Fault
	if !errors.As(err, &fault) || fault.Code != host.CodeInputUnusable || fault.Retryable || !strings.Contains(fault.Message, "because of its age") {
		t.Errorf("Prepare = %v", err)
	}
}
