package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

const openAPIType = "application/openapi+json"

// security is how every operation on scans is protected: either header.
func security() []map[string][]string {
	return []map[string][]string{{"apiKey": {}}, {"bearer": {}}}
}

// operatorSecurity is the same with an operator's key, for everything below
// /admin.
func operatorSecurity() []map[string][]string {
	return []map[string][]string{{"operatorKey": {}}, {"operatorBearer": {}}}
}

// humaConfig is huma's without its defaults that reach out: its documentation
// page loads scripts from a CDN, and its answers link to schemas.
func (a *API) humaConfig() huma.Config {
	cfg := huma.DefaultConfig("SecureTag", a.cfg.Version)
	cfg.Info.Description = "Accepts scans of source archives and web targets, runs them in plugins and keeps what they find. " +
		"Every error is a problem document (RFC 9457)."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	cfg.CreateHooks = nil
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.Formats = map[string]huma.Format{
		"application/json": jsonFormat(),
		"json":             jsonFormat(), // what huma looks up for +json
	}
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{a.transform}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"apiKey":         {Type: "apiKey", In: "header", Name: "X-API-Key"},
		"bearer":         {Type: "http", Scheme: "bearer"},
		"operatorKey":    {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "An operator's key."},
		"operatorBearer": {Type: "http", Scheme: "bearer", Description: "An operator's key."},
	}
	return cfg
}

// publish finishes the document and serves it. It only depends on the
// configuration, so it is written once: when somebody first asks for it, for to
// write it and its pages is most of what a host would do before it serves.
func (a *API) publish(doc huma.API) {
	spec := doc.OpenAPI()
	registry := spec.Components.Schemas
	d := newDocumenter(registry)
	for _, item := range spec.Paths {
		for _, op := range operations(item) {
			d.operation(op)
			link(op)
		}
	}
	spec.Components.Responses, spec.Tags = d.shared, d.tags()
	spec.Servers = []*huma.Server{{URL: "/", Description: "This host."}}
	schemas := registry.Map()
	// huma's own error model is never sent.
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	for _, s := range schemas {
		for _, property := range s.Properties {
			if property.Type == huma.TypeArray {
				property.Nullable = false
			}
		}
	}
	for name, property := range map[string]string{"Scan": "options", "Finding": "properties"} {
		s := schemas[name].Properties[property]
		s.Type, s.AdditionalProperties = huma.TypeObject, true
	}
	a.openAPI = sync.OnceValues(func() ([]byte, error) {
		raw, err := json.Marshal(spec)
		if err != nil {
			return nil, fmt.Errorf("write OpenAPI document: %w", err)
		}
		return tighten(raw)
	})
	a.router.Path("/openapi.json").Methods(http.MethodGet).HandlerFunc(a.serveOpenAPI)
	a.publishPages(spec)
}

func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	recordOf(r.Context()).route = "/openapi.json"
	if err := a.limitAddress(w, r); err != nil {
		a.writeProblem(w, r, err)
		return
	}
	raw, err := a.openAPI()
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", openAPIType)
	_, _ = w.Write(raw) // a client that went away needs no answer
}

// operations are those of a path.
func operations(item *huma.PathItem) (all []*huma.Operation) {
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op != nil {
			all = append(all, op)
		}
	}
	return all
}
