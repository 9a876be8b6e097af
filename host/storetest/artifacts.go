package storetest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/host"
)

// newArtifact is one as the dispatcher makes it.
func newArtifact(name string) host.Artifact {
	id := host.NewArtifactID()
	return host.Artifact{ID: id, Name: name, MediaType: "application/json", Size: 7,
		SHA256: strings.Repeat("0a", 32), Blob: host.BlobKey("artifacts/" + string(id))}
}

func (s *suite) artifacts(scan host.Scan) []host.Artifact {
	s.Helper()
	got, err := s.Artifacts(s.ctx(), scan.TenantID, scan.ID)
	s.check(err)
	return got
}

func testArtifacts(s *suite) {
	for _, state := range host.States() {
		scan, l := s.running()
		if got := s.artifacts(scan); len(got) != 0 {
			s.Errorf("artifacts of a scan that runs: %+v", got)
		}
		if state == host.StateRunning {
			continue
		}
		sbom, raw := newArtifact("sbom.cdx.json"), newArtifact("raw.txt")
		raw.MediaType, raw.Size = "text/plain", 0
		o := end(l, state)
		o.Artifacts = []host.Artifact{sbom, raw}
		s.finish(o)
		got := s.artifacts(scan)
		if state != host.StateSucceeded && state != host.StatePartial {
			if len(got) != 0 {
				s.Errorf("artifacts of a job that is %s: %+v", state, got)
			}
			continue
		}
		for i := range got {
			if at := got[i].CreatedAt; at.IsZero() || at.Location() != time.UTC {
				s.Errorf("artifact %d was created at %v", i, at)
			}
			got[i].CreatedAt = time.Time{}
		}
		for _, a := range []*host.Artifact{&sbom, &raw} {
			a.ScanID, a.JobID, a.Plugin = scan.ID, l.Job, scan.Jobs[0].Plugin
		}
		if diff := cmp.Diff([]host.Artifact{raw, sbom}, got); diff != "" {
			s.Errorf("artifacts of a job that is %s (-want +got):\n%s", state, diff)
		}
		if _, err := s.Artifacts(s.ctx(), s.tenant(), scan.ID); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("another tenant's list: %v, want ErrNotFound", err)
		}
	}
	for _, id := range []host.ScanID{"", "x", host.NewScanID()} {
		if _, err := s.Artifacts(s.ctx(), s.tenant(), id); !errors.Is(err, host.ErrNotFound) {
			s.Errorf("Artifacts(%q): %v, want ErrNotFound", id, err)
		}
	}
}

// testArtifactsFenced has a lease that is gone, and an outcome that comes twice.
func testArtifactsFenced(s *suite) {
	scan, l := s.running()
	other := l
	other.Epoch++
	o := end(other, host.StateSucceeded)
	o.Artifacts = []host.Artifact{newArtifact("a")}
	lost, err := s.Finish(s.ctx(), []host.Outcome{o})
	s.check(err)
	if !slices.Equal(lost, []host.Lease{other}) || len(s.artifacts(scan)) != 0 {
		s.Errorf("lost %v, artifacts %+v; want none of another lease", lost, s.artifacts(scan))
	}
	o = end(l, host.StateSucceeded)
	o.Artifacts = []host.Artifact{newArtifact("a")}
	s.finish(o)
	o.Artifacts = append(o.Artifacts, newArtifact("b"))
	lost, err = s.Finish(s.ctx(), []host.Outcome{o})
	s.check(err)
	if got := s.artifacts(scan); !slices.Equal(lost, []host.Lease{l}) || len(got) != 1 || got[0].ID != o.Artifacts[0].ID {
		s.Errorf("lost %v, artifacts %+v; want those of the first time", lost, got)
	}
}

func testArtifactsRefused(s *suite) {
	scan, l := s.running()
	for what, change := range map[string]func(*host.Outcome){
		"no id":       func(o *host.Outcome) { o.Artifacts[0].ID = "" },
		"a path":      func(o *host.Outcome) { o.Artifacts[0].Name = "../a" },
		"hidden":      func(o *host.Outcome) { o.Artifacts[0].Name = ".a" },
		"two lines":   func(o *host.Outcome) { o.Artifacts[0].Name = "a\nb" },
		"long":        func(o *host.Outcome) { o.Artifacts[0].Name = strings.Repeat("a", 129) },
		"media type":  func(o *host.Outcome) { o.Artifacts[0].MediaType = "text/html; charset=x" },
		"no blob":     func(o *host.Outcome) { o.Artifacts[0].Blob = "" },
		"twice":       func(o *host.Outcome) { o.Artifacts = append(o.Artifacts, newArtifact("a")) },
		"too many":    func(o *host.Outcome) { o.Artifacts = slices.Repeat(o.Artifacts, host.MaxArtifacts+1) },
		"minus bytes": func(o *host.Outcome) { o.Artifacts[0].Size = -1 },
	} {
		o := end(l, host.StateSucceeded)
		o.Artifacts = []host.Artifact{newArtifact("a")}
		change(&o)
		if _, err := s.Finish(s.ctx(), []host.Outcome{o}); !errors.Is(err, host.ErrInvalid) {
			s.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	s.wantState(scan, host.StateRunning, host.StateRunning)
}

// testArtifactsGo has retention remove them with their scan, and until then no
// sweep for orphans.
func testArtifactsGo(s *suite) {
	scan, l := s.running()
	a := newArtifact("a")
	o := end(l, host.StatePartial)
	o.Artifacts = []host.Artifact{a}
	s.finish(o)
	unused, err := s.UnusedBlobs(s.ctx(), []host.BlobKey{"artifacts/none", a.Blob})
	s.check(err)
	if !slices.Equal(unused, []host.BlobKey{"artifacts/none"}) {
		s.Errorf("unused: %q", unused)
	}
	s.advance(day + time.Hour)
	want := []host.Artifact{{Blob: a.Blob, Size: 7}}
	if diff := cmp.Diff(want, s.dropScans(10).Artifacts); diff != "" {
		s.Errorf("dropped artifacts (-want +got):\n%s", diff)
	}
	if !s.gone(scan) {
		s.Error("the scan is still there")
	}
	if unused, err = s.UnusedBlobs(s.ctx(), []host.BlobKey{a.Blob}); err != nil || len(unused) != 1 {
		s.Errorf("unused after it went: %q, %v", unused, err)
	}
}
