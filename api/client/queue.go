package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// What operators see and do. It takes an operator's key; a tenant's opens none
// of it.

// QueueStats is the queue at one moment: jobs that have not ended, and dead
// letters. Jobs that have ended are not counted.
type QueueStats struct {
	Total  QueueCounts  `json:"total"`
	Groups []QueueGroup `json:"groups" doc:"By plugin and scan type; none that is empty."`
	Pauses []Pause      `json:"pauses"`
}

// QueueGroup is the part of a plugin in the scans of a type.
type QueueGroup struct {
	Plugin   string `json:"plugin"`
	ScanType string `json:"scan_type"`
	Paused   bool   `json:"paused" doc:"A pause covers it."`
	QueueCounts
}

// QueueCounts counts jobs. Every queued job is ready, waiting or handed out.
type QueueCounts struct {
	Ready              int     `json:"ready" doc:"Could run now; also those that are paused."`
	Waiting            int     `json:"waiting" doc:"Queued for a retry whose time has not come."`
	HandedOut          int     `json:"handed_out" doc:"Offered to the hosts; none has claimed it yet."`
	Running            int     `json:"running"`
	DeadLetters        int     `json:"dead_letters"`
	OldestReadySeconds float64 `json:"oldest_ready_seconds" doc:"How long the oldest ready job has been ready; 0: none is."`
}

// Pause is a part of the queue that is not dispatched.
type Pause struct {
	Kind      string    `json:"kind" enum:"all,plugin,scan_type"`
	Name      string    `json:"name,omitempty" doc:"Of the plugin or the scan type; left out for all."`
	Reason    string    `json:"reason,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

// DeadLetter is a job that failed because nothing was left to try, kept until
// somebody requeues or drops it.
type DeadLetter struct {
	ID          string    `json:"id" format:"uuid" doc:"Id of the job."`
	ScanID      string    `json:"scan_id" format:"uuid"`
	Tenant      string    `json:"tenant" doc:"The tenant's name."`
	ScanType    string    `json:"scan_type"`
	Plugin      string    `json:"plugin"`
	Attempt     int       `json:"attempt" doc:"How often it was tried since it was accepted or requeued."`
	MaxAttempts int       `json:"max_attempts"`
	Crashes     int       `json:"crashes" doc:"How many of the attempts killed the plugin or the host; three are the end."`
	Error       *JobError `json:"error,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	DeadAt      time.Time `json:"dead_at"`
	Canceled    bool      `json:"scan_canceled" doc:"Its tenant has canceled the scan: it cannot be requeued."`
	History     []Attempt `json:"history,omitempty" doc:"Attempts that delivered nothing, oldest first, at most the last 100. Left out in lists."`
}

// Attempt is one that delivered nothing.
type Attempt struct {
	Attempt   int       `json:"attempt" doc:"As counted when it ran; a requeue begins again at 1."`
	Epoch     int64     `json:"epoch" doc:"Grows with each attempt of the job, whatever happens."`
	Host      string    `json:"host" doc:"Which host ran it."`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	State     State     `json:"state" enum:"queued,failed,canceled,timed_out" doc:"In which it left the job."`
	Crashed   bool      `json:"crashed" doc:"The plugin or the host died."`
	Released  bool      `json:"released" doc:"It was given back and did not count."`
	Error     *JobError `json:"error,omitempty"`
}

// Settlement says which dead letters to requeue or drop: IDs or Filter, one of
// them.
type Settlement struct {
	IDs    []string    `json:"ids,omitempty" maxItems:"1000" doc:"Ids of jobs."`
	Filter *DeadFilter `json:"filter,omitempty" doc:"All that it fits, newest first; {} fits every one."`
	Limit  int         `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"With a filter, how many at most; default 1000."`
	// PageToken continues where the answer before ended.
	PageToken string `json:"page_token,omitempty" maxLength:"512" doc:"next_page_token of the answer before, with the same filter."`
}

// DeadFilter narrows dead letters. The zero value is everything.
type DeadFilter struct {
	Plugin   string `json:"plugin,omitempty" maxLength:"200"`
	ScanType string `json:"scan_type,omitempty" maxLength:"200"`
	Tenant   string `json:"tenant,omitempty" maxLength:"63" doc:"The tenant's name."`
}

// Settled is what became of a Settlement.
type Settled struct {
	Done          int       `json:"done" doc:"How many were requeued or dropped."`
	Refused       []Refusal `json:"refused" doc:"Those that were not, and why."`
	NextPageToken string    `json:"next_page_token,omitempty" doc:"There may be more: ask again with it as page_token."`
}

// Refusal is a job that was not requeued or dropped.
type Refusal struct {
	ID     string `json:"id"`
	Reason string `json:"reason" enum:"not_dead,canceled,archive_gone" doc:"Stable word for programs."`
	Detail string `json:"detail" doc:"The reason in words."`
}

// Drain is how far a drain is.
type Drain struct {
	Draining bool `json:"draining" doc:"Everything is paused."`
	Running  int  `json:"running" doc:"Jobs that run on, on any host."`
	Drained  bool `json:"drained" doc:"Everything is paused and nothing runs. Only the second such answer in a row is sure: a job may have been about to begin."`
}

// QueueStats counts the queue.
func (c *Client) QueueStats(ctx context.Context) (QueueStats, error) {
	var s QueueStats
	_, err := c.get(ctx, "/admin/queue", nil, &s)
	return s, err
}

// DeadQuery asks for dead letters. The zero value is everything.
type DeadQuery struct {
	DeadFilter
	Limit     int    // dead letters a page; 0: as the host likes
	PageToken string // NextPageToken of the page before, with the same filter
}

// DeadLetters gives one page, newest first, without histories.
func (c *Client) DeadLetters(ctx context.Context, q DeadQuery) (Page[DeadLetter], error) {
	var p Page[DeadLetter]
	_, err := c.get(ctx, "/admin/queue/dead", values("plugin", q.Plugin, "scan_type", q.ScanType, "tenant", q.Tenant,
		"limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}

// AllDeadLetters goes through all pages from q on. It ends after the first error.
func (c *Client) AllDeadLetters(ctx context.Context, q DeadQuery) iter.Seq2[DeadLetter, error] {
	return all(func(token string) (Page[DeadLetter], error) {
		if token != "" {
			q.PageToken = token
		}
		return c.DeadLetters(ctx, q)
	})
}

// DeadLetter gives one with its history.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	var d DeadLetter
	_, err := c.get(ctx, "/admin/queue/dead/"+url.PathEscape(id), nil, &d)
	return d, err
}

// Requeue gives dead letters a fresh budget of attempts.
func (c *Client) Requeue(ctx context.Context, s Settlement) (Settled, error) {
	var out Settled
	err := c.postJSON(ctx, "/admin/queue/dead/requeue", s, &out)
	return out, err
}

// Drop gives dead letters up; their jobs stay failed.
func (c *Client) Drop(ctx context.Context, s Settlement) (Settled, error) {
	var out Settled
	err := c.postJSON(ctx, "/admin/queue/dead/drop", s, &out)
	return out, err
}

// Pauses lists what is not dispatched.
func (c *Client) Pauses(ctx context.Context) ([]Pause, error) {
	var p Page[Pause]
	_, err := c.get(ctx, "/admin/queue/pauses", nil, &p)
	return p.Items, err
}

// Pause stops the dispatch of a part of the queue: kind is all, plugin or
// scan_type. It gives every pause that there is then.
func (c *Client) Pause(ctx context.Context, kind, name, reason string) ([]Pause, error) {
	in := struct {
		Kind   string `json:"kind"`
		Name   string `json:"name,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{kind, name, reason}
	var p Page[Pause]
	err := c.postJSON(ctx, "/admin/queue/pauses", in, &p)
	return p.Items, err
}

// Resume takes a pause back. One that does not exist is an *Error with status 404.
func (c *Client) Resume(ctx context.Context, kind, name string) error {
	_, err := c.send(ctx, request{method: http.MethodDelete, path: "/admin/queue/pauses", query: values("kind", kind, "name", name)}, nil)
	return err
}

// StartDrain pauses everything and says what still runs. Ask Drain until it is
// drained twice in a row; Resume "all" undoes it.
func (c *Client) StartDrain(ctx context.Context) (Drain, error) {
	var d Drain
	err := c.postJSON(ctx, "/admin/queue/drain", nil, &d)
	return d, err
}

// Drain says how far a drain is.
func (c *Client) Drain(ctx context.Context) (Drain, error) {
	var d Drain
	_, err := c.get(ctx, "/admin/queue/drain", nil, &d)
	return d, err
}
