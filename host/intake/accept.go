package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/securetaghq/securetag/host"
)

// Request is what a client asks for, beside the target itself.
type Request struct {
	Tenant  host.TenantID
	Plan    host.Plan // what the tenant may use; zero: everything
	Type    string
	Project string // "" for none
	// Priority orders the tenant's own scans; "" is the plan's.
	Priority host.Priority
	// Gate is what the scan is held to; nil is its project's.
	Gate    *host.Gate
	Options json.RawMessage // one JSON object: see CheckOptions; nil for none
	// Secrets is one JSON object, by name the options that nobody is shown; nil for
	// none.
	Secrets json.RawMessage
	// Key is by what the request is known when it comes again ([OnceKey]); nil: by
	// nothing.
	Key *[32]byte
}

// AcceptArchive stores a scan of a staged archive. Whatever happens s is used
// up: on an error its blob is removed. Errors: *Refusal for what the client
// can mend, *host.Shortage when its plan has no room for it, *Replayed when it was
// accepted before, host.ErrUnavailable when the store does not answer.
func (in *Intake) AcceptArchive(ctx context.Context, req Request, s *Staged) (host.Scan, error) {
	defer s.Discard(ctx) // does nothing once the scan owns the blob
	if s == nil || s.done {
		return host.Scan{}, errors.New("accept scan: the archive was used before")
	}
	scan, err := in.plan(ctx, req, host.InputArchive)
	if err != nil {
		return host.Scan{}, err
	}
	archive := s.archive
	scan.Input.Archive, scan.Once = &archive, in.once(req, archive.SHA256)
	s.done = true // should the store panic, nobody knows whether the scan exists
	stored, mayExist, err := in.commit(ctx, scan, req.Plan.Quota)
	s.done = mayExist
	return stored, err
}

// AcceptURL stores a scan of a web target. Errors are those of AcceptArchive.
func (in *Intake) AcceptURL(ctx context.Context, req Request, target string) (host.Scan, error) {
	scan, err := in.plan(ctx, req, host.InputURL)
	if err != nil {
		return host.Scan{}, err
	}
	if scan.Input.URL, err = ParseURL(target); err != nil {
		return host.Scan{}, err
	}
	scan.Once = in.once(req, scan.Input.URL)
	if err := in.permit(ctx, scan); err != nil {
		return host.Scan{}, err
	}
	stored, _, err := in.commit(ctx, scan, req.Plan.Quota)
	return stored, err
}

// permit refuses a target that the tenant may not have scanned. A request that was
// accepted before has its answer all the same: nothing begins anew.
func (in *Intake) permit(ctx context.Context, scan host.Scan) error {
	if in.cfg.Permit == nil {
		return nil
	}
	err := in.cfg.Permit(ctx, scan.TenantID, scan.Input.URL)
	if !errors.Is(err, host.ErrNotPermitted) {
		return err
	}
	if scan.Once != nil {
		earlier, eerr := in.store.Earlier(ctx, scan.TenantID, scan.Once.Key)
		if eerr == nil {
			return replay(scan.Once, earlier)
		}
		if !errors.Is(eerr, host.ErrNotFound) {
			return fmt.Errorf("look for the same request: %w", eerr)
		}
	}
	return refuse(host.ErrNotPermitted, "", "url", "%s", err.Error())
}

// plan makes the scan and its jobs, with every field but the input checked.
func (in *Intake) plan(ctx context.Context, req Request, kind host.InputKind) (host.Scan, error) {
	t, err := in.admit(req.Type, kind)
	if err != nil {
		return host.Scan{}, err
	}
	if err := CheckProject(req.Project); err != nil {
		return host.Scan{}, err
	}
	if err := CheckPriority(req.Priority); err != nil {
		return host.Scan{}, err
	}
	options, err := in.CheckOptions(req.Type, req.Options)
	if err != nil {
		return host.Scan{}, err
	}
	scan := host.Scan{
		ID: host.NewScanID(), TenantID: req.Tenant, Type: t.Name, Project: req.Project,
		Priority: cmp.Or(req.Priority, req.Plan.Priority), Options: options, Gate: req.Gate, State: host.StateQueued,
	}
	if err := in.keepSecrets(ctx, req, t, &scan); err != nil {
		return host.Scan{}, err
	}
	for _, plugin := range t.Plugins {
		scan.Jobs = append(scan.Jobs, host.Job{
			ID: host.NewJobID(), ScanID: scan.ID, TenantID: req.Tenant, Plugin: plugin,
			State: host.StateQueued, MaxAttempts: t.Attempts, Timeout: t.Timeout,
			Findings: req.Plan.Findings, Artifacts: req.Plan.Artifacts,
		})
	}
	return scan, nil
}

// commit stores the scan in one transaction. mayExist is false only when it is
// certain that the store has no such scan. A client that hangs up now does not
// stop it: the work is done but for one commit, and a cut commit would only
// leave everybody unsure of it.
func (in *Intake) commit(ctx context.Context, scan host.Scan, quota host.Quota) (stored host.Scan, mayExist bool, err error) {
	if err := ctx.Err(); err != nil {
		return host.Scan{}, false, fmt.Errorf("accept scan: %w", err)
	}
	stored, err = in.committer.accept(ctx, scan, quota)
	var earlier *host.Earlier
	if errors.As(err, &earlier) {
		return host.Scan{}, false, replay(scan.Once, earlier)
	}
	if err != nil {
		return in.recall(ctx, scan, fmt.Errorf("accept scan %s: %w", scan.ID, err))
	}
	in.tell(stored)
	return stored, true, nil
}

// tell says that a scan was accepted.
func (in *Intake) tell(s host.Scan) {
	in.wake()
	if in.cfg.Accepted != nil {
		in.cfg.Accepted(s)
	}
}

// recall finds out whether a scan was stored although Accept failed with
// cause.
func (in *Intake) recall(ctx context.Context, scan host.Scan, cause error) (host.Scan, bool, error) {
	if !unsure(cause) {
		return host.Scan{}, false, cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.cfg.AcceptTimeout)
	defer cancel()
	stored, err := in.store.Scan(ctx, scan.TenantID, scan.ID)
	switch {
	case err == nil:
		in.tell(stored)
		return stored, true, nil
	case errors.Is(err, host.ErrNotFound):
		return host.Scan{}, false, cause
	default:
		in.log.Warn("scan may or may not have been accepted; its archive is kept", "scan", scan.ID, "error", err)
		return host.Scan{}, true, cause
	}
}

// unsure reports whether what failed with err may have been done all the same.
func unsure(err error) bool {
	return errors.Is(err, host.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}
