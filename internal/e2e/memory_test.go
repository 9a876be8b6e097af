package e2e_test

import (
	"archive/tar"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/testhost"
)

// TestMemory: an idle host is small, and an upload of 1 GiB leaves it so. Both
// bounds are the issue's; the binary is one without the race detector, as it is
// shipped.
func TestMemory(t *testing.T) {
	t.Parallel()
	c := start(t, places[0], settings{archiveSize: "2GiB", plainBinary: true})
	host := c.hosts[0]
	if r, err := c.api(0, "a").Readiness(t.Context()); err != nil || r.Status != client.Ready {
		t.Fatalf("readiness = %+v, %v", r, err)
	}
	if idle, _, err := testhost.Memory(host.PID()); err != nil || idle > 64<<20 {
		t.Errorf("an idle embedded host has %d MiB resident (%v), want less than 64", idle>>20, err)
	} else {
		t.Logf("idle: %d MiB", idle>>20)
	}

	const size = 1 << 30
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(writeNoise(pw, size)) }()
	scan, err := c.api(0, "a").Upload(t.Context(), pr, client.UploadOptions{Filename: "noise.tar", Type: "noop"})
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	if s := c.wait(scan.ID); s.State != client.StateSucceeded || s.Archive.UnpackedBytes != size {
		t.Fatalf("scan = %s of %+v, jobs %+v", s.State, s.Archive, s.Jobs)
	}
	if _, peak, err := testhost.Memory(host.PID()); err != nil || peak > 128<<20 {
		t.Errorf("uploading and scanning 1 GiB took the host to %d MiB (%v), want less than 128", peak>>20, err)
	} else {
		t.Logf("peak: %d MiB", peak>>20)
	}
}

// writeNoise writes a tar of four files that do not compress, size bytes in all.
func writeNoise(w io.Writer, size int64) error {
	noise := make([]byte, 1<<20)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(noise) // never fails
	tw := tar.NewWriter(w)
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size / 4}); err != nil {
			return err
		}
		for range size / 4 / int64(len(noise)) {
			if _, err := tw.Write(noise); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}
