package api

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/api/export"
	"github.com/securetaghq/securetag/host"
)

const (
	// reportsAtOnce is how many reports one tenant may have written at a time:
	// each holds a page of findings for as long as its reader takes.
	reportsAtOnce = 4
	reportPage    = 500 // findings that are read at a time
)

func (a *API) registerReports(doc huma.API) {
	content := map[string]*huma.MediaType{}
	for _, f := range export.Formats() {
		schema := &huma.Schema{Type: huma.TypeString}
		if f == export.SARIF {
			schema = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
		}
		media, _, _ := strings.Cut(f.MediaType(), ";")
		content[media] = &huma.MediaType{Schema: schema}
	}
	content[export.CycloneDXMedia] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}
	huma.Register(doc, huma.Operation{
		OperationID: "get-report", Method: http.MethodGet, Path: "/scans/{id}/report",
		Summary: "A scan and its findings as one document", Tags: []string{"findings"}, Security: security(),
		Description: "SARIF 2.1.0 with a run for each plugin, CSV that is safe to open in a spreadsheet, JSON lines, " +
			"or an HTML page that loads nothing. Each says what did not succeed; in CSV by rows without an id. " +
			"CycloneDX is what the jobs of a scan that has ended kept of that type, as one document: 404 when none did, 409 when one may have and failed.",
		Errors:    []int{http.StatusConflict},
		Metadata:  map[string]any{streamed: true},
		Responses: map[string]*huma.Response{"200": {Description: "The report, as a download.", Content: content}},
	}, a.getReport)
}

type reportInput struct {
	ID     string `path:"id" doc:"Id of the scan."`
	Format string `query:"format" enum:"sarif,csv,jsonl,html,cyclonedx" default:"sarif" doc:"Which document."`
}

func (a *API) getReport(ctx context.Context, in *reportInput) (*huma.StreamResponse, error) {
	id, err := host.ParseID[host.ScanID](in.ID)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	found, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	s, err := a.deps.Store.Scan(found, recordOf(ctx).tenant, id)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	shown := scanOutput{Body: wireScan(s)}
	if err := a.judge(found, s, &shown); err != nil {
		return nil, problemOf(err, nil)
	}
	if !a.reports.take(s.TenantID, reportsAtOnce) {
		p := &problemError{Problem: kindTooManyReports().problem(""), header: http.Header{"Retry-After": {"5"}}}
		return nil, p
	}
	if export.Format(in.Format) == export.CycloneDX {
		made := false
		defer func() {
			if !made { // because of an error, or of a panic over what a plugin wrote
				a.reports.give(s.TenantID)
			}
		}()
		doc, err := a.cycloneDX(found, s)
		if err != nil {
			return nil, err
		}
		made = true
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer a.reports.give(s.TenantID)
			a.sendCycloneDX(ctx, s, doc)
		}}, nil
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) { //nolint:contextcheck // huma's is the request's
		defer a.reports.give(s.TenantID)
		a.sendReport(ctx, s, shown.Body, export.Format(in.Format))
	}}, nil
}

func (a *API) sendReport(ctx huma.Context, s host.Scan, shown client.Scan, f export.Format) {
	_, w := humamux.Unwrap(ctx)
	download(w.Header(), f.MediaType(), "securetag-"+string(s.ID)+"."+string(f))
	w.WriteHeader(http.StatusOK)
	out := &paced{w: w, deadlines: http.NewResponseController(w)}
	err := export.Write(out, f, export.Report{Scan: shown, Version: a.cfg.Version, Findings: a.findingsOf(ctx.Context(), s)})
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		return
	}
	if out.err == nil { // else the client went away
		a.log.Error("a report could not be written to its end", "scan", s.ID, "format", f, "error", err)
	}
	panic(http.ErrAbortHandler) // so that nobody takes a part for all of it
}

// findingsOf reads the findings of a scan page by page.
func (a *API) findingsOf(ctx context.Context, s host.Scan) export.Findings {
	return func(plugin string) iter.Seq2[client.Finding, error] {
		return func(yield func(client.Finding, error) bool) {
			q := host.FindingQuery{Plugin: plugin, Limit: reportPage}
			for {
				page, err := a.findingsPage(ctx, s, q)
				if err != nil {
					yield(client.Finding{}, err)
					return
				}
				for _, f := range page {
					if !yield(wireFinding(f), nil) {
						return
					}
				}
				if len(page) < reportPage {
					return
				}
				last := page[len(page)-1]
				q.After = &host.FindingCursor{Rank: last.Severity.Rank(), ID: last.ID}
			}
		}
	}
}

func (a *API) findingsPage(ctx context.Context, s host.Scan, q host.FindingQuery) ([]host.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	return a.deps.Store.Findings(ctx, s.TenantID, s.ID, q)
}

// shares counts what each tenant has at a time. The zero value has nothing.
type shares struct {
	mu sync.Mutex
	n  map[host.TenantID]int
}

// take reports whether a tenant has less than most, and then it has one more.
func (s *shares) take(t host.TenantID, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[t] >= most {
		return false
	}
	if s.n == nil {
		s.n = map[host.TenantID]int{}
	}
	s.n[t]++
	return true
}

func (s *shares) give(t host.TenantID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[t]--; s.n[t] == 0 {
		delete(s.n, t)
	}
}
