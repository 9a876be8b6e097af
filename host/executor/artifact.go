package executor

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor/internal/clean"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// artifact has the sink keep a copy of one file of the work directory. One that
// is not as it must be is left out, and does not cost the rest of the scan.
func (s *scan) artifact(ctx context.Context, a *pluginv1.Artifact) error {
	name := clean.Line(a.GetName(), 80)
	if s.artifacts == s.p.plugin.MaxArtifacts {
		s.leaveOut(fmt.Sprintf("artifacts after the first %d", s.artifacts), name)
		return nil
	}
	out, path, err := clean.Artifact(a)
	if err == nil && s.names[out.Name] {
		err = errors.New("its name is that of another artifact of this scan")
	}
	if err != nil {
		s.leaveOut("artifacts that are not as the contract says", fmt.Sprintf("%q: %v", name, err))
		return nil
	}
	f, size, err := openArtifact(s.task.WorkDir, path)
	if err != nil {
		s.leaveOut("artifacts that cannot be read", fmt.Sprintf("%q: %v", name, err))
		return nil
	}
	defer f.Close()
	left := s.maxArtifactsBytes() - s.artifactBytes
	if size > left {
		s.leaveOut(fmt.Sprintf("artifacts over %d bytes together", s.maxArtifactsBytes()), name)
		return nil
	}
	out.ScanID, out.JobID, out.Plugin = s.task.Scan, s.task.Job, s.p.plugin.Name
	n, err := s.sink.Artifact(ctx, out, &bounded{r: f, left: size})
	switch {
	case errors.Is(err, host.ErrInvalid):
		s.leaveOut("artifacts that changed or are not what they were said to be", fmt.Sprintf("%q: %v", name, err))
		return nil
	case err != nil:
		return errSink{err}
	}
	s.artifacts++
	s.artifactBytes += n
	if s.names == nil {
		s.names = make(map[string]bool)
	}
	s.names[out.Name] = true
	return nil
}

// bounded reads exactly as many bytes as the file had when it was opened: a
// plugin may still write to it.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		var one [1]byte
		if n, _ := b.r.Read(one[:]); n > 0 {
			return 0, fmt.Errorf("it grew while it was copied: %w", host.ErrInvalid)
		}
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = fmt.Errorf("it shrank while it was copied: %w", host.ErrInvalid)
	}
	return n, err
}
