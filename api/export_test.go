package api

import "github.com/gorilla/mux"

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
