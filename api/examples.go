package api

import (
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// examples are what the document shows of its schemas, by name. They are those of
// docs/api.md.
func examples() map[string]any {
	const scan, job = "01a20a02-7914-7be9-bd21-46768b2e29c6", "01a20a02-7914-7bf0-96d8-a693f15cde8a"
	at := time.Date(2026, 11, 23, 20, 4, 23, 956922000, time.UTC)
	ended := at.Add(29 * time.Millisecond)
	high := client.Counts{High: 1}
	return map[string]any{
		"Scan": client.Scan{
			ID: scan, Type: "codeaudit", Project: "shop", Priority: client.PriorityNormal, State: client.StateSucceeded, Counts: high,
			Archive: &client.Archive{Filename: "app.tar.gz", Format: "tar.gz", Size: 178, Files: 1, UnpackedBytes: 27,
				SHA256: "e05594eda7d60e91f4d7de4d86547b334e025c285af39a76f984f5237b7cb732"},
			Jobs: []client.Job{{ID: job, Plugin: "secrets", State: client.StateSucceeded, Attempt: 1, MaxAttempts: 3,
				Counts: high, StartedAt: &at, FinishedAt: &ended}},
			CreatedAt: at, StartedAt: &at, FinishedAt: &ended,
		},
		"Finding": client.Finding{
			ID: "01a20a02-7926-788f-b56e-181d3880c9ee", ScanID: scan, JobID: job, Plugin: "secrets", RuleID: "aws-access-token",
			Title: "AWS access token", Message: "Identified a pattern that may indicate AWS credentials.",
			Severity: string(host.SeverityHigh), Confidence: string(host.ConfidenceMedium),
			Location: client.Location{Path: "app/aws.ini", StartLine: 1, StartColumn: 7, EndLine: 1, EndColumn: 27}, Snippet: "key = REDACTED",
			Fingerprint: "v1:e353d144d7243b24a68f0456237a68ab02bf5a500e2a3642e9c0b86a82f7339d", CWE: []int{798}, Tags: []string{"secret"}, CreatedAt: ended,
		},
		"Artifact": client.Artifact{
			ID: "01a20a02-7926-7c1d-9b7b-2f6f3a0d5c11", ScanID: scan, JobID: job, Plugin: "secrets", Name: "sbom.cdx.json", MediaType: "application/vnd.cyclonedx+json",
			Size: 2048, SHA256: "e05594eda7d60e91f4d7de4d86547b334e025c285af39a76f984f5237b7cb732", CreatedAt: ended,
		},
		"Plugin": client.Plugin{Name: "secrets", State: "ready", Version: "1.0.0", Description: "Finds credentials.", Inputs: []string{"archive"}, Rules: 222},
		"Usage":  UsageOf(host.Plan{Name: "free", Quota: host.Quota{Storage: 100 << 20}}, host.Usage{Storage: 178, ScansToday: 1, ResetsAt: at.Truncate(24 * time.Hour).Add(24 * time.Hour)}),
	}
}
