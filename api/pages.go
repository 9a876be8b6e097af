package api

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gorilla/mux"
)

// The pages for people load nothing: not from elsewhere, and not from here.
//
//go:embed pages
var pageFiles embed.FS

// problemTexts is what docs/api.md says of each problem; TestProblemPages
// writes it.
//
//go:embed problems.json
var problemTexts []byte

// problemText is a row of it.
type problemText struct {
	Code   string `json:"code"`
	Status string `json:"status"`
	Means  string `json:"means"`
	Do     string `json:"do,omitempty"`
}

// pages are those that are served, by address, and what they may do.
type pages struct {
	all    map[string][]byte
	policy string // Content-Security-Policy
}

// publishPages serves the pages. They too are made once and when they are asked
// for.
func (a *API) publishPages(spec *huma.OpenAPI) {
	a.pages = sync.OnceValues(func() (pages, error) { return makePages(spec) })
	for _, path := range []string{"/docs", "/problems", "/problems/{code}"} {
		a.router.Path(path).Methods(http.MethodGet).HandlerFunc(a.servePage)
	}
}

func makePages(spec *huma.OpenAPI) (pages, error) {
	style, err := pageFiles.ReadFile("pages/page.css")
	if err != nil {
		return pages{}, fmt.Errorf("read the style of the pages: %w", err)
	}
	shapes, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return pages{}, fmt.Errorf("read the pages: %w", err)
	}
	sum := sha256.Sum256(style)
	made := pages{all: map[string][]byte{}, policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
	css := template.CSS(style) //nolint:gosec // it is this package's own
	add := func(at, shape string, data any) {
		var page bytes.Buffer
		if xerr := shapes.ExecuteTemplate(&page, shape, data); xerr != nil && err == nil {
			err = fmt.Errorf("write the page %s: %w", at, xerr)
		}
		made.all[at] = page.Bytes()
	}
	var texts []problemText
	if err := json.Unmarshal(problemTexts, &texts); err != nil {
		return pages{}, fmt.Errorf("read the texts of problems: %w", err)
	}
	add("/problems", "problems.html", map[string]any{"Style": css, "All": texts})
	for _, p := range texts {
		add("/problems/"+p.Code, "problem.html", map[string]any{"Style": css, "Code": p.Code, "Status": p.Status, "Means": p.Means, "Do": p.Do})
	}
	add("/docs", "reference.html", reference{spec}.view(css))
	return made, err
}

func (a *API) servePage(w http.ResponseWriter, r *http.Request) {
	if route := mux.CurrentRoute(r); route != nil {
		recordOf(r.Context()).route, _ = route.GetPathTemplate() // there is one
	}
	made, err := a.pages()
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	page := made.all[r.URL.Path]
	if page == nil {
		a.notFound(w, r)
		return
	}
	if err := a.limitAddress(w, r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Security-Policy", made.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	status, body := askedBy(r).represent(http.StatusOK, w.Header(), page)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}
