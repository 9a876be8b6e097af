package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerUsage(doc huma.API) {
	huma.Register(doc, huma.Operation{
		OperationID: "get-usage", Method: http.MethodGet, Path: "/usage",
		Summary:     "What your plan allows, and what of it is used",
		Description: "A quota or limit that is left out is none.",
		Tags:        []string{"usage"}, Security: security(),
	}, a.usage)
}

type usageOutput struct{ Body client.Usage }

func (a *API) usage(ctx context.Context, _ *struct{}) (*usageOutput, error) {
	rec := recordOf(ctx)
	u, err := a.deps.Store.Usage(ctx, rec.tenant)
	if err != nil {
		return nil, problemOf(err, nil)
	}
	return &usageOutput{Body: UsageOf(rec.plan, u)}, nil
}

// UsageOf is what a tenant with this plan holds, as the API shows it.
func UsageOf(p host.Plan, u host.Usage) client.Usage {
	return client.Usage{
		Plan: p.Name,
		Quotas: []client.Quota{
			{Name: string(host.QuotaStorage), Unit: "bytes", Used: u.Storage, Limit: limit(p.Storage)},
			{Name: string(host.QuotaScansPerDay), Unit: "scans", Used: u.ScansToday, Limit: limit(p.ScansPerDay), ResetsAt: wireTime(u.ResetsAt)},
			{Name: string(host.QuotaQueuedScans), Unit: "scans", Used: u.QueuedScans, Limit: limit(p.QueuedScans)},
		},
		Limits: client.PlanLimits{
			RequestRate: rate(p.RequestRate), UploadRate: rate(p.UploadRate),
			ArchiveSize: p.ArchiveSize, UnpackedSize: p.UnpackedSize,
			ConcurrentJobs: p.ConcurrentJobs, Findings: p.Findings, Artifacts: p.Artifacts,
			RetentionSeconds: seconds(p.Retention),
		},
	}
}

// limit is a quota as the API shows it; nil for none.
func limit(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// seconds are whole ones; 0 is none, and what is shorter than one is one.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func rate(r host.Rate) *client.Rate {
	if r.Unlimited() {
		return nil
	}
	return &client.Rate{Requests: r.Count, Seconds: r.Per.Seconds()}
}

// queueRetry is after how many seconds a place in the queue may be free.
const queueRetry = 10

// describeShortage tells what is lacking, and when that ends if it does by itself.
func (p *problemError) describeShortage(err error) {
	var s *host.Shortage
	if !errors.As(err, &s) {
		return
	}
	p.Quota, p.Used, p.Limit, p.Needed, p.ResetsAt = string(s.Quota), &s.Used, &s.Limit, &s.Needed, wireTime(s.ResetsAt)
	switch s.Quota {
	case host.QuotaStorage:
		p.Detail = fmt.Sprintf("Your plan keeps archives of %d bytes together: %d are used, and this one needs at least %d. Room comes back when old archives are removed.", s.Limit, s.Used, s.Needed)
	case host.QuotaScansPerDay:
		p.Detail = fmt.Sprintf("Your plan has %d scans a day, and %d are used. The next day begins at 00:00 UTC.", s.Limit, s.Used)
		p.header = retryAfter(max(1, int(time.Until(s.ResetsAt).Seconds())+1))
	case host.QuotaQueuedScans:
		p.Detail = fmt.Sprintf("Your plan lets %d scans wait to be started, and %d do. Try again when one has begun, or cancel one.", s.Limit, s.Used)
		p.header = retryAfter(queueRetry)
	}
}

func retryAfter(seconds int) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(seconds)}}
}
