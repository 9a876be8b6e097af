package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// DeletionState is how far a deletion is.
type DeletionState string

const (
	Deleting DeletionState = "deleting" // some are left
	Deleted  DeletionState = "deleted"
)

// Deletion is the removal of a scan, or of all that a project had. None of them is
// seen any more, from the moment in which it was asked for.
type Deletion struct {
	ID         string        `json:"id" format:"uuid"`
	State      DeletionState `json:"state" enum:"deleting,deleted"`
	ScanID     string        `json:"scan_id,omitempty" format:"uuid" doc:"The scan that it is about; left out when it is about a project's."`
	Project    string        `json:"project,omitempty" doc:"The project whose scans it is about."`
	CreatedAt  time.Time     `json:"created_at"`
	FinishedAt *time.Time    `json:"finished_at,omitempty"`
	Scans      int           `json:"scans" doc:"How many scans it is about."`
	Left       int           `json:"left" doc:"How many of them are still to be removed."`
}

// DeleteScan deletes a scan with all that it found. Nobody sees it from then on;
// the deletion says when it is removed, too. It cannot be undone.
func (c *Client) DeleteScan(ctx context.Context, id string) (Deletion, error) {
	return c.remove(ctx, scanPath(id))
}

// DeleteProjectScans deletes all scans that a project has. It takes a key with the
// scope admin.
func (c *Client) DeleteProjectScans(ctx context.Context, project string) (Deletion, error) {
	return c.remove(ctx, "/projects/"+url.PathEscape(project)+"/scans")
}

func (c *Client) remove(ctx context.Context, path string) (Deletion, error) {
	var d Deletion
	_, err := c.send(ctx, request{method: http.MethodDelete, path: path}, &d)
	return d, err
}

// Deletion says how far one is.
func (c *Client) Deletion(ctx context.Context, id string) (Deletion, error) {
	d, _, err := c.deletion(ctx, id)
	return d, err
}

func (c *Client) deletion(ctx context.Context, id string) (Deletion, http.Header, error) {
	var d Deletion
	h, err := c.get(ctx, "/deletions/"+url.PathEscape(id), nil, &d)
	return d, h, err
}

// WaitDeletion polls until a deletion is done, as Wait does.
func (c *Client) WaitDeletion(ctx context.Context, id string) (Deletion, error) {
	for attempt := 0; ; attempt++ {
		d, h, err := c.deletion(ctx, id)
		if err != nil || d.State == Deleted {
			return d, err
		}
		pause := c.backoff(attempt)
		if !c.opts.IgnoreRetryAfter {
			pause = max(pause, retryAfter(h))
		}
		if err := c.opts.SleepFunc(ctx, pause); err != nil {
			return d, err
		}
	}
}
