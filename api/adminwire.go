package api

import (
	"slices"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/control"
)

// The functions below turn what operators look at into what the API shows. The
// command line prints the same, so that a program reads both alike.

// QueueStats is the queue as the API shows it.
func QueueStats(s host.QueueStats) client.QueueStats {
	out := client.QueueStats{Total: queueCounts(s.Total()), Groups: []client.QueueGroup{}, Pauses: Pauses(s.Pauses)}
	for _, g := range s.Groups {
		paused := slices.ContainsFunc(s.Pauses, func(p host.Pause) bool { return p.Covers(g.Plugin, g.ScanType) })
		out.Groups = append(out.Groups, client.QueueGroup{Plugin: g.Plugin, ScanType: g.ScanType, Paused: paused, QueueCounts: queueCounts(g)})
	}
	return out
}

func queueCounts(g host.QueueGroup) client.QueueCounts {
	return client.QueueCounts{Ready: g.Ready, Waiting: g.Waiting, HandedOut: g.Out, Running: g.Running, DeadLetters: g.Dead,
		OldestReadySeconds: g.OldestReady.Seconds()}
}

// Pauses is a list of pauses as the API shows it.
func Pauses(all []host.Pause) []client.Pause {
	out := []client.Pause{}
	for _, p := range all {
		out = append(out, client.Pause{Kind: string(p.Kind), Name: p.Name, Reason: p.Reason, CreatedAt: p.CreatedAt.UTC()})
	}
	return out
}

// DeadLetter is a dead letter as the API shows it.
func DeadLetter(d host.DeadLetter) client.DeadLetter {
	j := d.Job
	out := client.DeadLetter{
		ID: string(j.ID), ScanID: string(j.ScanID), Tenant: d.Tenant, ScanType: d.ScanType, Plugin: j.Plugin,
		Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Crashes: j.Crashes, Error: wireError(j.Error),
		CreatedAt: j.CreatedAt.UTC(), DeadAt: d.DeadAt.UTC(), Canceled: d.Canceled,
	}
	for _, a := range d.History {
		out.History = append(out.History, client.Attempt{
			Attempt: a.Attempt, Epoch: a.Epoch, Host: a.Owner, StartedAt: a.StartedAt.UTC(), EndedAt: a.EndedAt.UTC(),
			State: client.State(a.State), Crashed: a.Crashed, Released: a.Released, Error: wireError(a.Error),
		})
	}
	return out
}

// Settled is what became of dead letters as the API shows it, without a token.
func Settled(r control.Result) client.Settled {
	out := client.Settled{Done: r.Done, Refused: []client.Refusal{}}
	for _, f := range r.Refused {
		out.Refused = append(out.Refused, client.Refusal{ID: string(f.Job), Reason: string(f.Reason), Detail: f.Reason.Explain()})
	}
	return out
}

// Drain is how far a drain is as the API shows it.
func Drain(s host.QueueStats) client.Drain {
	all := slices.ContainsFunc(s.Pauses, func(p host.Pause) bool { return p.Kind == host.PauseAll })
	running := s.Total().Running
	return client.Drain{Draining: all, Running: running, Drained: all && running == 0}
}

func wireError(e *host.JobError) *client.JobError {
	if e == nil {
		return nil
	}
	return &client.JobError{Code: string(e.Code), Message: e.Message, Attempt: e.Attempt}
}
