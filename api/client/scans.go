package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// StartOptions say how a URL is scanned. The zero value is good.
type StartOptions struct {
	Type     string          // scan type; default "web"
	Project  string          // default: none
	Priority Priority        // default: normal
	Options  json.RawMessage // a JSON object: by name the options of the scan type, by plugin name an object for that plugin; default: none
	Secrets  json.RawMessage // a JSON object: by name the options that nobody is shown; default: none
	Gate     *GatePolicy     // default: the project's
	// Key makes the request one with every other of the same key, for a day:
	// letters, digits and punctuation but " and \, at most 255. Default: a random
	// one for each call.
	Key string
}

// StartURL asks for a scan of a web target and returns it as accepted. Whatever
// is lost on the way there is one scan: it is asked for again by its key.
func (c *Client) StartURL(ctx context.Context, target string, opts StartOptions) (Scan, error) {
	if opts.Type == "" {
		opts.Type = "web"
	}
	in := struct {
		URL      string          `json:"url"`
		Project  string          `json:"project,omitempty"`
		Priority Priority        `json:"priority,omitempty"`
		Options  json.RawMessage `json:"options,omitempty"`
		Secrets  json.RawMessage `json:"secrets,omitempty"`
		Gate     *GatePolicy     `json:"gate,omitempty"`
	}{target, opts.Project, opts.Priority, opts.Options, opts.Secrets, opts.Gate}
	raw, err := json.Marshal(in)
	if err != nil {
		return Scan{}, fmt.Errorf("encode request: %w", err)
	}
	key := opts.Key
	if key == "" {
		key = rand.Text()
	}
	var s Scan
	_, err = c.tryAgain(ctx, func() (http.Header, error) {
		return c.send(ctx, request{
			method: http.MethodPost, path: "/scans/" + url.PathEscape(opts.Type), key: key,
			contentType: "application/json", body: bytes.NewReader(raw), size: int64(len(raw)),
		}, &s)
	})
	return s, err
}

// Scan gives a scan with its jobs.
func (c *Client) Scan(ctx context.Context, id string) (Scan, error) {
	s, _, err := c.scan(ctx, id)
	return s, err
}

func (c *Client) scan(ctx context.Context, id string) (Scan, http.Header, error) {
	var s Scan
	h, err := c.get(ctx, scanPath(id), nil, &s)
	return s, h, err
}

// Cancel asks a scan to end and returns it as it stands; running jobs end a
// moment later. A scan that ended in another way is an *Error with status 409.
func (c *Client) Cancel(ctx context.Context, id string) (Scan, error) {
	var s Scan
	err := c.postJSON(ctx, scanPath(id)+"/cancel", nil, &s)
	return s, err
}

// WaitForGate is Wait, and waits a moment more for the comparison with the
// findings before, without which a gate says nothing.
func (c *Client) WaitForGate(ctx context.Context, id string, progress func(Scan)) (Scan, error) {
	s, err := c.Wait(ctx, id, progress)
	if err == nil && s.Gate == nil { // events say nothing of gates
		s, err = c.Scan(ctx, id)
	}
	for attempt := 0; err == nil && s.Gate != nil && s.Gate.State == "pending"; attempt++ {
		if err = c.opts.SleepFunc(ctx, c.backoff(attempt)); err == nil {
			s, err = c.Scan(ctx, id)
		}
	}
	return s, err
}

// ScansQuery narrows a list of scans. The zero value is everything.
type ScansQuery struct {
	Type, Project string
	State         State
	Limit         int    // scans a page; 0: as the host likes
	PageToken     string // NextPageToken of the page before, with the same filters
}

// Scans gives one page, newest first, without jobs.
func (c *Client) Scans(ctx context.Context, q ScansQuery) (Page[Scan], error) {
	var p Page[Scan]
	_, err := c.get(ctx, "/scans", values("type", q.Type, "project", q.Project,
		"state", string(q.State), "limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}

// AllScans goes through all pages from q on. It ends after the first error.
func (c *Client) AllScans(ctx context.Context, q ScansQuery) iter.Seq2[Scan, error] {
	return all(func(token string) (Page[Scan], error) {
		if token != "" {
			q.PageToken = token
		}
		return c.Scans(ctx, q)
	})
}

// FindingsQuery narrows findings. The zero value is everything.
type FindingsQuery struct {
	Severity  string // only this one
	Limit     int    // findings a page; 0: as the host likes
	PageToken string // NextPageToken of the page before, with the same filters
}

// Findings gives one page of a scan's findings, worst first.
func (c *Client) Findings(ctx context.Context, id string, q FindingsQuery) (Page[Finding], error) {
	var p Page[Finding]
	_, err := c.get(ctx, scanPath(id)+"/findings", values("severity", q.Severity,
		"limit", limit(q.Limit), "page_token", q.PageToken), &p)
	return p, err
}

// AllFindings goes through all pages from q on. It ends after the first error.
func (c *Client) AllFindings(ctx context.Context, id string, q FindingsQuery) iter.Seq2[Finding, error] {
	return all(func(token string) (Page[Finding], error) {
		if token != "" {
			q.PageToken = token
		}
		return c.Findings(ctx, id, q)
	})
}

// Readiness says how the host is. A host that is not ready is no error.
func (c *Client) Readiness(ctx context.Context) (Readiness, error) {
	var r Readiness
	_, err := c.send(ctx, request{method: http.MethodGet, path: "/readyz"}, &r)
	var refused *Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusServiceUnavailable {
		return Readiness{Status: Unavailable}, nil
	}
	return r, err
}

// all walks pages; a host that gives the same token twice is not followed.
func all[T any](page func(token string) (Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		for token := ""; ; {
			p, err := page(token)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.NextPageToken == "" {
				return
			}
			if p.NextPageToken == token {
				yield(zero, errors.New("the host gives the same page again and again"))
				return
			}
			token = p.NextPageToken
		}
	}
}

func scanPath(id string) string { return "/scans/" + url.PathEscape(id) }

func limit(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// values pairs names with values and leaves out the empty ones.
func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}
