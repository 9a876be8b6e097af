package api

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/securetaghq/securetag/host"
)

// What the tests look at by itself.
var (
	ParsePrefer = parsePrefer
	AcceptsGzip = acceptsGzip
	Matches     = matches
)

// CheckDigest says whether a body is what a Content-Digest says.
func CheckDigest(header string, body []byte) error {
	d, err := digestsOf(http.Header{"Content-Digest": {header}})
	if err != nil {
		return err
	}
	d.add(body)
	return d.check()
}

// WritePaced writes b at once through what gives each piece its time.
func WritePaced(w http.ResponseWriter, b []byte) error {
	p := &paced{w: w, deadlines: http.NewResponseController(w)}
	if _, err := p.Write(b); err != nil {
		return err
	}
	return p.Flush()
}

// Routes are all that the router answers, each as its method and path.
func (a *API) Routes() (all []string) {
	_ = a.router.Walk(func(r *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := r.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := r.GetMethods()
		for _, m := range methods {
			all = append(all, m+" "+path)
		}
		return err
	})
	return all
}

// LookAtReport is what is checked of a SARIF log before its scan.
var LookAtReport = lookAtReport

// Waiting is who waits for scans.
type Waiting struct{ waiting }

// Enter is enter, and Leave leave.
func (w *Waiting) Enter(t host.TenantID) bool { return w.enter(t) }
func (w *Waiting) Leave(t host.TenantID)      { w.leave(t) }

// Left is how many wait, and how many tenants are known for it.
func (w *Waiting) Left() (requests, tenants int) { return w.all, len(w.of) }
