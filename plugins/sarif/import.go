package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const (
	// importedReport is the one file of the target that is read.
	importedReport = "report.sarif"
	maxImported    = 32 << 20
)

// importOptions name the tools of a report, so that a host tells imports of
// different tools apart: none says what is absent of another's.
type importOptions struct {
	Tools []string `json:"tools" required:"true" doc:"The names of the tools in the report, each once and sorted."`
}

// newImporter is the plugin with --import: the tool ran elsewhere, and the target
// is its report.
func newImporter(name string) sdk.Scanner[struct{}] {
	tool := sdk.SARIFTool{Other: name, Elsewhere: true}
	return sdk.Scanner[struct{}]{
		Name:        name,
		Version:     version,
		Description: "Reports what a SARIF report says of a scanner that ran elsewhere.",
		Vendor:      "SecureTag",
		License:     "Apache-2.0",
		Consumes:    []sdk.Input{sdk.Tree},
		Options:     importOptions{},
		Rules: []sdk.Rule{{
			ID: name, Title: "Reported by a scanner that ran elsewhere", Severity: sdk.Medium,
			Description: "The properties of a finding name the tool and its rule.",
		}},
		MaxConcurrentScans: 1,
		Scan: func(_ context.Context, _ *struct{}, t *sdk.Target, out *sdk.Out) error {
			return readImported(tool, t, out)
		},
	}
}

func readImported(tool sdk.SARIFTool, t *sdk.Target, out *sdk.Out) error {
	f, err := t.Open(importedReport)
	if err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	defer f.Close()
	report, err := io.ReadAll(io.LimitReader(f, maxImported+1))
	if err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	if len(report) > maxImported {
		return fmt.Errorf("the report is larger than %d MiB", maxImported>>20)
	}
	options, _ := t.Options().(*importOptions)
	if options == nil {
		return errors.New("the options do not name the tools of the report")
	}
	if err := sameTools(report, options.Tools); err != nil {
		return err
	}
	if err := tool.Read(report, t, out); err != nil {
		return fmt.Errorf("the report is not taken: %w", err)
	}
	out.Scanned(1, uint64(len(report)))
	return nil
}

// sameTools refuses a report of others than the tools that it was announced with:
// a report can be written so that readers see different things in it, and what
// one tool does not report must not make another's findings absent.
func sameTools(report []byte, announced []string) error {
	var r struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Name string `json:"name"`
				} `json:"driver"`
			} `json:"tool"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(report), "\ufeff")), &r); err != nil {
		return fmt.Errorf("the report is not taken: it is not SARIF: %w", err)
	}
	names := []string{}
	for _, run := range r.Runs {
		names = append(names, run.Tool.Driver.Name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); !slices.Equal(names, announced) {
		return fmt.Errorf("the report is of the tools %.200q, and was announced as one of %.200q", names, announced)
	}
	return nil
}
