package dispatch

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/securetaghq/securetag/host"
)

// spill is how many findings a run keeps in memory before it stores them early.
const spill = 500

// sink takes what a plugin says. A small result goes into the commit that ends
// the job; a large one is stored as it comes, so that memory stays bounded.
type sink struct {
	store     host.JobStore
	blobs     host.BlobStore // nil: artifacts are left out
	lease     host.Lease
	patient   *patient
	tail      []host.Finding
	total     int
	artifacts []host.Artifact // their blobs are there, their rows not yet
	remarks   host.Remarks
}

func (s *sink) Progress(p host.Progress) { s.patient.progress.Store(&p) }

// Note implements host.Sink. What is said twice is kept once.
func (s *sink) Note(n host.Note) {
	switch r := &s.remarks; {
	case slices.Contains(r.Notes, n):
	case len(r.Notes) == host.MaxNotes:
		r.More++
	default:
		r.Notes = append(r.Notes, n)
	}
}

func (s *sink) Findings(ctx context.Context, batch []host.Finding) error {
	s.tail = append(s.tail, batch...)
	s.total += len(batch)
	s.patient.findings.Store(int64(s.total))
	if len(s.tail) < spill {
		return nil
	}
	if err := s.store.AddFindings(ctx, s.lease, s.tail); err != nil {
		return err
	}
	s.tail = nil
	return nil
}

// Artifact implements host.Sink. The blob comes first and its row with the
// job's end: a host that dies in between leaves an orphan, which the sweep
// finds, and never a row that names nothing.
func (s *sink) Artifact(ctx context.Context, a host.Artifact, r io.Reader) (int64, error) {
	if s.blobs == nil {
		return 0, fmt.Errorf("this host keeps no artifacts: %w", host.ErrInvalid)
	}
	a.ID = host.NewArtifactID()
	a.Blob = host.BlobKey("artifacts/" + string(a.ID))
	size, sum, err := s.blobs.Put(ctx, a.Blob, r)
	if err != nil {
		return 0, err
	}
	told := a.SHA256
	a.Size, a.SHA256 = size, sum
	s.artifacts = append(s.artifacts, a)
	if told != "" && told != sum {
		s.artifacts = s.artifacts[:len(s.artifacts)-1]
		s.remove(ctx, a)
		return 0, fmt.Errorf("its SHA-256 is %s, and the plugin said %s: %w", sum, told, host.ErrInvalid)
	}
	return size, nil
}

// removeTime bounds what a run waits for its blobs to be removed. What is not
// removed by then, or at all, is an orphan.
const removeTime = 5 * time.Second

// drop removes the artifacts of an attempt that delivers nothing.
func (s *sink) drop(ctx context.Context) {
	s.remove(ctx, s.artifacts...)
	s.artifacts = nil
}

func (s *sink) remove(ctx context.Context, all ...host.Artifact) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	for _, a := range all {
		_ = s.blobs.Delete(ctx, a.Blob) // an orphan otherwise
	}
}

func (s *sink) last() host.Progress { return s.patient.news().progress }
