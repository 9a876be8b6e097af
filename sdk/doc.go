// Package sdk is what the author of a SecureTag scanner imports. A scanner is
// one function from a target to findings; [Main] makes an executable of it that
// a host starts, and that a person can run by hand:
//
//	package main
//
//	import (
//		"context"
//		"regexp"
//
//		"github.com/securetaghq/securetag/sdk"
//	)
//
//	type Config struct {
//		MaxFileSize sdk.Bytes `json:"max_file_size" default:"1MiB" doc:"Larger files are left out."`
//	}
//
//	func main() {
//		key := regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)
//		sdk.Main(sdk.Scanner[Config]{
//			Name:        "aws-keys",
//			Version:     "0.1.0",
//			Description: "Finds AWS access key ids.",
//			Consumes:    []sdk.Input{sdk.Tree},
//			Rules:       []sdk.Rule{{ID: "aws-key-id", Title: "AWS access key id", Severity: sdk.High}},
//			Scan: func(ctx context.Context, c *Config, t *sdk.Target, out *sdk.Out) error {
//				return t.EachLine(ctx, sdk.LineOptions{MaxFileSize: c.MaxFileSize}, func(l sdk.Line) {
//					for _, m := range key.FindAllStringIndex(l.Text, -1) {
//						out.Finding("aws-key-id", sdk.Finding{
//							Message: "AWS access key id " + sdk.Redact(l.Text[m[0]:m[1]]),
//							At:      l.At(m[0], m[1]),
//						})
//					}
//				})
//			},
//		})
//	}
//
// # What the SDK does for the author
//
// It speaks the contract (package pluginv1): the handshake, the settings'
// schema from the tags of Config, their check with every mistake at once, and
// the stream of events. Findings go out in batches, progress at most four times
// a second, and a sign of life every two seconds while Scan runs, whatever Scan
// does. A panic in Scan fails that one scan; its stack goes to the log, as does
// what is printed. When the host is gone, so is the process.
//
// A program that scans is run with [Target.Run]; one that writes SARIF becomes a
// plugin with [ExecSARIF]. Files that a scan produces are kept with
// [Out.Artifact]. Package sdktest runs a scanner in a test. Run by hand, a plugin
// has the verbs --describe, scan, selftest and --debug.
//
// # How a scan ends
//
// nil from Scan means that the whole target was scanned, unless [Out.Partial]
// was called, and [NotApplicable] that there was nothing to look at in it. Any
// other error means no result; [Retryable] says that trying again may
// help and [Refuse] that it never will, because the request itself is wrong.
// When the scan is cancelled its ctx ends: return soon, with any error or nil;
// the scan is canceled and what it found is not shown.
//
// # What the author must do
//
// Return when ctx ends. Treat the target as hostile: bound sizes and times, run
// nothing from it, follow no links ([Target.Files] does not). Redact secrets
// before they go into a finding, a log or an error. Wait for goroutines started
// in Scan; findings reported after it returned are dropped, and a panic in one
// of them takes the whole process down.
package sdk
