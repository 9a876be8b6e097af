package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/safetext"
)

// JSON writes one document, {"scan": …, "findings": […]}, in the types of the
// API. Findings are in the order of the table.
func JSON(w io.Writer, scan client.Scan, findings []client.Finding) error {
	return Document(w, struct {
		Scan     client.Scan      `json:"scan"`
		Findings []client.Finding `json:"findings"`
	}{scan, Sorted(findings)})
}

// Line writes v as JSON on one line, with which no terminal can be tricked.
func Line(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if _, err := w.Write(safetext.JSON(b.Bytes())); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Document writes v as indented JSON that no terminal can be tricked with.
func Document(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if _, err := w.Write(safetext.JSON(b.Bytes())); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
