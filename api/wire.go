package api

import (
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// wireScan and the functions below turn the domain into what the API shows.
func wireScan(s host.Scan) client.Scan {
	out := client.Scan{
		ID: string(s.ID), Type: s.Type, Project: s.Project, Priority: client.Priority(s.Priority), State: client.State(s.State),
		URL: s.Input.URL, Options: s.Options, SecretOptions: s.SecretOptions, Counts: wireCounts(s.Counts),
		CreatedAt: s.CreatedAt.UTC(), StartedAt: wireTime(s.StartedAt), FinishedAt: wireTime(s.FinishedAt),
		CancelRequestedAt: wireTime(s.CancelRequestedAt),
	}
	if a := s.Input.Archive; a != nil {
		out.Archive = &client.Archive{
			Filename: a.Filename, Format: a.Format, Size: a.Size, SHA256: a.SHA256,
			Files: a.Files, UnpackedBytes: a.UnpackedBytes, Dropped: a.Dropped,
			RemovedAt: wireTime(a.RemovedAt),
		}
	}
	out.NothingScanned = s.NothingScanned()
	for _, j := range s.Jobs {
		out.Jobs = append(out.Jobs, wireJob(j))
	}
	return out
}

func wireJob(j host.Job) client.Job {
	out := client.Job{
		ID: string(j.ID), Plugin: j.Plugin, State: client.State(j.State), Attempt: j.Attempt,
		MaxAttempts: j.MaxAttempts, Counts: wireCounts(j.Counts),
		StartedAt: wireTime(j.StartedAt), FinishedAt: wireTime(j.FinishedAt),
	}
	if j.Progress != (host.Progress{}) {
		p := client.Progress(j.Progress)
		out.Progress = &p
	}
	out.Error = wireError(j.Error)
	out.NotApplicable, out.MoreNotes = j.Remarks.NotApplicable, j.Remarks.More
	for _, n := range j.Remarks.Notes {
		out.Notes = append(out.Notes, client.Note{Level: string(n.Level), Text: n.Text, Path: n.Path})
	}
	// Before the first attempt a job is ready from the start.
	if j.State == host.StateQueued && j.Attempt > 0 {
		out.RunAt = wireTime(j.RunAt)
	}
	return out
}

func wireCounts(c host.Counts) client.Counts { return client.Counts(c) }

func wireTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func wireFinding(f host.Finding) client.Finding {
	return client.Finding{
		ID: string(f.ID), ScanID: string(f.ScanID), JobID: string(f.JobID), Plugin: f.Plugin,
		RuleID: f.RuleID, Title: f.Title, Message: f.Message, Severity: string(f.Severity),
		Confidence: string(f.Confidence), Location: client.Location(f.Location), Snippet: f.Snippet,
		Fingerprint: f.Fingerprint, LineHash: f.LineHash, CWE: f.CWE, Tags: f.Tags, References: f.References,
		Properties: f.Properties, CreatedAt: f.CreatedAt.UTC(),
		State: string(f.Baseline), ProjectFindingID: string(f.ProjectFinding),
		Triage: string(f.Triage), TriageReason: f.Reason, AlsoFoundBy: wireOthers(f.AlsoFoundBy),
	}
}

func wireOthers(all []host.Other) (out []client.Other) {
	for _, o := range all {
		out = append(out, client.Other{Plugin: o.Plugin, RuleID: o.RuleID, FindingID: string(o.ID)})
	}
	return out
}
