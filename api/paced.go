package api

import (
	"net/http"
	"time"
)

// download says that what follows is to be saved and not shown: a plugin wrote
// it, about input that may be hostile. The name must need no escaping.
func download(h http.Header, mediaType, name string) {
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
}

// paced writes an answer of any length in pieces and gives the client answerTime
// for each.
type paced struct {
	w         http.ResponseWriter
	deadlines *http.ResponseController
	piece     []byte
	err       error // the client's: nothing more can be sent
}

const pieceSize = 64 << 10

func (p *paced) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && p.err == nil {
		room := min(pieceSize-len(p.piece), len(b))
		p.piece, b = append(p.piece, b[:room]...), b[room:]
		if len(p.piece) == pieceSize {
			_ = p.Flush() // it is kept
		}
	}
	return n, p.err
}

// Flush sends what is left.
func (p *paced) Flush() error {
	if p.err == nil && len(p.piece) > 0 {
		_ = p.deadlines.SetWriteDeadline(time.Now().Add(answerTime)) // writers that know no deadline need none
		_, p.err = p.w.Write(p.piece)
	}
	p.piece = p.piece[:0]
	return p.err
}
