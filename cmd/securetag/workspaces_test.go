package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/blob/dirblob"
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
	}, func(host.Progress) {})
	var fault *host.Fault
	if !errors.As(err, &fault) || fault.Code != host.CodeInputUnusable || fault.Retryable || !strings.Contains(fault.Message, "because of its age") {
		t.Errorf("Prepare = %v", err)
	}
}

// TestPrepareOutOfAPack: a scan sees its own archive of those that share a blob,
// and of one that the database holds whole.
func TestPrepareOutOfAPack(t *testing.T) {
	t.Parallel()
	disk, err := workspace.New(t.TempDir(), workspace.Limits{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	blobs, err := dirblob.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	var pack []byte
	archives := map[string]*host.Archive{}
	for _, name := range []string{"first", "middle", "last"} {
		data := zipOf(t, name)
		archives[name] = &host.Archive{Blob: "packs/1", Offset: int64(len(pack)), Size: int64(len(data))}
		pack = append(pack, data...)
	}
	if _, _, err := blobs.Put(t.Context(), "packs/1", bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	data := zipOf(t, "inline")
	archives["inline"] = &host.Archive{Data: data, Size: int64(len(data))}
	for name, a := range archives {
		place, err := workspaces{blobs: blobs, disk: disk}.Prepare(t.Context(), host.Claim{
			Job: host.Job{ID: host.NewJobID()}, Scan: host.Scan{ID: host.NewScanID(), Input: host.Input{Archive: a}},
		}, func(host.Progress) {})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(place.Root, "name.txt")); string(got) != name {
			t.Errorf("the workspace of %s has the file of %q, %v", name, got, err)
		}
		place.Release()
	}
}

// zipOf makes an archive with one file that holds its name.
func zipOf(t *testing.T, name string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("name.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(name)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestPartOf: whatever a row says, nothing outside the blob is read, and no more
// than a small archive into memory.
func TestPartOf(t *testing.T) {
	t.Parallel()
	const size = 2 * host.InlineArchive
	whole := make([]byte, size)
	for i := range whole {
		whole[i] = byte(i % 251)
	}
	for name, tt := range map[string]struct {
		offset, size int64
		ok           bool
	}{
		"first":                {0, 100, true},
		"middle":               {1000, host.InlineArchive, true},
		"last":                 {size - 1, 1, true},
		"one byte too far":     {size, 1, false},
		"ends too far":         {size - 99, 100, false},
		"before the blob":      {-1, 100, false},
		"of negative size":     {100, -1, false},
		"too large":            {0, host.InlineArchive + 1, false},
		"larger than all":      {0, size + 1, false},
		"offset overflows":     {math.MaxInt64, 100, false},
		"size overflows":       {100, math.MaxInt64, false},
		"at the most negative": {math.MinInt64, 100, false},
		"of the most negative": {100, math.MinInt64, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part, err := partOf(inline{bytes.NewReader(whole)}, &host.Archive{Blob: "packs/1", Offset: tt.offset, Size: tt.size})
			if !tt.ok {
				if err == nil || !strings.Contains(err.Error(), "are no part of blob packs/1") {
					t.Errorf("partOf = %v, want a refusal that names the blob", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, tt.size)
			if _, err := part.ReadAt(got, 0); err != nil || part.Size() != tt.size || !bytes.Equal(got, whole[tt.offset:tt.offset+tt.size]) {
				t.Errorf("partOf gives %d bytes that are not those at %d (%v)", part.Size(), tt.offset, err)
			}
		})
	}
}
