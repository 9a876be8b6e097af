package api

import (
	"net/http"
	"time"

	"github.com/rs/cors"
)

// preflightAge is how long a browser keeps to what it was told.
const preflightAge = 10 * time.Minute

// newCORS lets pages of the origins read answers; nil: no page of another origin
// does, which is what browsers make of answers that say nothing. Keys are sent in
// headers by whoever has them, so no origin is trusted with credentials that a
// browser keeps.
func newCORS(origins []string) *cors.Cors {
	if len(origins) == 0 {
		return nil
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "X-API-Key", "Content-Type", "Content-Digest", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer", "X-Request-Id"},
		ExposedHeaders: []string{"Location", "Retry-After", "ETag", "Link", "Idempotency-Replayed", "Preference-Applied", "RateLimit", "RateLimit-Policy", "X-Request-Id", "Content-Disposition", "Repr-Digest"},
		MaxAge:         int(preflightAge / time.Second),
	})
}

// preflight reports whether a browser asks before it lets a page send.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
