package export

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/internal/safetext"
)

// writeJSONLines writes {"scan": …}, then {"finding": …} for each: that the
// scan comes first tells a reader at once whether something is missing.
func writeJSONLines(w io.Writer, r Report) error {
	if err := jsonLine(w, struct {
		Scan client.Scan `json:"scan"`
	}{r.Scan}); err != nil {
		return err
	}
	for f, err := range r.Findings("") {
		if err != nil {
			return err
		}
		if err := jsonLine(w, struct {
			Finding client.Finding `json:"finding"`
		}{f}); err != nil {
			return err
		}
	}
	return nil
}

func jsonLine(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(append(safetext.JSON(bytes.TrimSpace(b.Bytes())), '\n'))
	return err
}
