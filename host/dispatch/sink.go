package dispatch

import (
	"context"

	"github.com/securetaghq/securetag/host"
)

// spill is how many findings a run keeps in memory before it stores them early.
const spill = 500

// sink takes what a plugin says. A small result goes into the commit that ends
// the job; a large one is stored as it comes, so that memory stays bounded.
type sink struct {
	store   host.JobStore
	lease   host.Lease
	patient *patient
	tail    []host.Finding
	total   int
}

func (s *sink) Progress(p host.Progress) { s.patient.progress.Store(&p) }

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

func (s *sink) last() host.Progress { return s.patient.news().progress }
