package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// documenter finishes what huma says of the operations: every status that each
// can answer with, by rules, so that a new route has them without a word.
type documenter struct {
	problem *huma.Schema
	kinds   map[int]kind // the commonest of each status
	shared  map[string]*huma.Response
	used    map[string]bool // tags
}

// tagWords say what the operations of a tag are about, in the order in which a
// reader meets them.
func tagWords() []*huma.Tag {
	return []*huma.Tag{
		{Name: "scans", Description: "Start them, look at them, end them."},
		{Name: "findings", Description: "What scans found, and what people say of it."},
		{Name: "projects", Description: "Lines of scans of the same thing: what is new in one, what is gone."},
		{Name: "artifacts", Description: "Files that scans produced."},
		{Name: "events", Description: "What happens, as it happens."},
		{Name: "targets", Description: "Hosts of yours, proved to be so, that may be scanned by URL."},
		{Name: "webhooks", Description: "Addresses of yours that are told what happens."},
		{Name: "plugins", Description: "What scans."},
		{Name: "usage", Description: "What a plan allows, and what of it is used."},
		{Name: "keys", Description: "A tenant's own API keys."},
		{Name: "health", Description: "How the host is. No key is needed."},
		{Name: "admin", Description: "For operators, with an operator's key."},
	}
}

func newDocumenter(registry huma.Registry) *documenter {
	d := &documenter{
		problem: registry.Schema(reflect.TypeFor[client.Problem](), true, "Problem"),
		kinds:   map[int]kind{}, shared: map[string]*huma.Response{}, used: map[string]bool{},
	}
	for _, row := range append([]kind{kindInternal(), kindInvalid(), kindMalformed(), kindRateLimited(), kindScope("scan:read")}, errorKinds()...) {
		if _, ok := d.kinds[row.status]; !ok {
			d.kinds[row.status] = row
		}
	}
	return d
}

func errorKinds() (all []kind) {
	for _, row := range kinds() {
		all = append(all, row.kind)
	}
	return all
}

// operation finishes one.
func (d *documenter) operation(op *huma.Operation) {
	for _, tag := range op.Tags {
		d.used[tag] = true
	}
	d.describe(op)
	delete(op.Responses, "default")
	for _, status := range d.statuses(op) {
		if own := op.Responses[strconv.Itoa(status)]; own == nil || d.isProblem(own) {
			op.Responses[strconv.Itoa(status)] = d.refused(status)
		}
	}
	ok := op.Responses["200"]
	if op.Method == http.MethodGet && ok != nil && ok.Content["application/json"] != nil {
		ok.Headers = withHeader(ok.Headers, "ETag", "Of this answer, to ask for it with If-None-Match.")
		op.Responses["304"] = &huma.Response{Description: "What If-None-Match names is still the answer.", Headers: withHeader(nil, "ETag", "As it was.")}
		op.Parameters = append(op.Parameters, &huma.Param{Name: "If-None-Match", In: "header",
			Description: "ETags of answers that you have already.", Schema: &huma.Schema{Type: huma.TypeString}})
		if properties := d.properties(ok); properties["next_page_token"] != nil {
			ok.Headers = withHeader(ok.Headers, "Link", "Where the next page is, with rel=next; left out on the last.")
		}
	}
}

// properties are those of what an answer holds.
func (d *documenter) properties(r *huma.Response) map[string]*huma.Schema {
	s := r.Content["application/json"].Schema
	if s == nil {
		return nil
	}
	return s.Properties
}

// tighten says in the document what handlers check by themselves, for they have
// better words for it than huma, and shows examples.
func tighten(document []byte) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal(document, &all); err != nil {
		return nil, fmt.Errorf("read the document again: %w", err)
	}
	at := func(path ...string) map[string]any {
		here := all
		for _, name := range append([]string{"components", "schemas"}, path...) {
			here, _ = here[name].(map[string]any)
		}
		return here
	}
	if s := at("Settlement"); s != nil {
		s["oneOf"] = []any{map[string]any{"required": []string{"ids"}}, map[string]any{"required": []string{"filter"}}}
		s["dependentRequired"] = map[string]any{"limit": []string{"filter"}, "page_token": []string{"filter"}}
		at("Settlement", "properties", "ids")["minItems"] = 1
	}
	if s := at("KeyRequest", "properties", "scopes", "items"); s != nil {
		s["enum"] = host.AllScopes()
	}
	if s := at("PauseInputBody"); s != nil {
		s["oneOf"] = []any{
			map[string]any{"required": []string{"kind"}, "properties": map[string]any{"kind": map[string]any{"const": host.PauseAll}, "name": map[string]any{"maxLength": 0}}},
			map[string]any{"required": []string{"kind", "name"}, "properties": map[string]any{
				"kind": map[string]any{"enum": []any{host.PausePlugin, host.PauseScanType}}, "name": map[string]any{"minLength": 1}}},
		}
	}
	for _, name := range []string{"WebhookRequest", "WebhookChange"} {
		if s := at(name, "properties", "events", "items"); s != nil {
			s["enum"] = host.WebhookEvents()
		}
	}
	for name, value := range examples() {
		if s := at(name); s != nil {
			s["examples"] = []any{value}
		}
	}
	return json.Marshal(all)
}

// describe says what key an operation takes, where it takes one.
func (d *documenter) describe(op *huma.Operation) {
	need := ""
	switch {
	case len(op.Security) == 0:
		need = "No key is needed."
	case op.Metadata[forOperators] != nil:
		need = "Needs an operator's key."
	case scopeOf(op) != "":
		need = "Needs a key with the scope " + string(scopeOf(op)) + "."
	}
	op.Description = strings.TrimSpace(op.Description + " " + need)
}

// statuses are those of the problems that an operation can answer with: those of
// its own, which it says itself, and those of what it is.
func (d *documenter) statuses(op *huma.Operation) []int {
	// A parameter that there is not is wrong too.
	all := []int{http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable}
	for status := range op.Responses {
		if n, err := strconv.Atoi(status); err == nil && n >= 400 && d.isProblem(op.Responses[status]) {
			all = append(all, n)
		}
	}
	if len(op.Security) > 0 {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	}
	if op.Method != http.MethodGet {
		all = append(all, http.StatusBadRequest, http.StatusNotFound, http.StatusConflict) // of Content-Digest; of what is changed
	}
	if op.RequestBody != nil {
		all = append(all, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	for _, p := range op.Parameters {
		switch {
		case p.In == "path":
			all = append(all, http.StatusNotFound)
		case strings.EqualFold(p.Name, "If-Match"):
			all = append(all, http.StatusPreconditionFailed)
			if op.Metadata[unconditional] == nil {
				all = append(all, http.StatusPreconditionRequired)
			}
		}
	}
	if op.Metadata[creates] != nil {
		all = append(all, http.StatusNotImplemented)
	}
	return all
}

// isProblem reports whether a documented answer is one that huma made up for a
// status, which is a problem as it is sent.
func (d *documenter) isProblem(r *huma.Response) bool {
	for _, media := range r.Content {
		if media.Schema != nil && (strings.HasSuffix(media.Schema.Ref, "/ErrorModel") || strings.HasSuffix(media.Schema.Ref, "/Problem")) {
			return true
		}
	}
	return len(r.Content) == 0
}

// refused is the answer of a problem; all operations share one for each status.
func (d *documenter) refused(status int) *huma.Response {
	name := "Problem" + strconv.Itoa(status)
	if d.shared[name] == nil {
		k, ok := d.kinds[status]
		if !ok {
			k = kind{status, strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_")), http.StatusText(status), ""}
		}
		p := k.problem("")
		p.RequestID = "G654G5DG7FHXSRH2I5LYUMO5NM"
		r := &huma.Response{
			Description: k.title + ".",
			Content:     map[string]*huma.MediaType{problemType: {Schema: d.problem, Example: p}},
		}
		switch status {
		case http.StatusUnauthorized:
			r.Headers = withHeader(nil, "WWW-Authenticate", "How to send a key.")
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			r.Headers = withHeader(nil, "Retry-After", "Seconds after which to try again.")
		}
		d.shared[name] = r
	}
	return &huma.Response{Ref: "#/components/responses/" + name}
}

func withHeader(headers map[string]*huma.Param, name, description string) map[string]*huma.Param {
	if headers == nil {
		headers = map[string]*huma.Param{}
	}
	if headers[name] == nil {
		headers[name] = &huma.Param{Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return headers
}

// link says what can be asked of a scan that an operation answers with.
func link(op *huma.Operation) {
	for status, r := range op.Responses {
		media := r.Content["application/json"]
		if status[0] != '2' || media == nil || media.Schema == nil || media.Schema.Ref != "#/components/schemas/Scan" {
			continue
		}
		r.Links = map[string]*huma.Link{}
		for name, id := range map[string]string{"scan": "get-scan", "findings": "list-findings", "artifacts": "list-artifacts", "cancel": "cancel-scan", "delete": "delete-scan"} {
			r.Links[name] = &huma.Link{OperationID: id, Parameters: map[string]any{"id": "$response.body#/id"}}
		}
	}
}

// tags lists those that are used.
func (d *documenter) tags() []*huma.Tag {
	return slices.DeleteFunc(tagWords(), func(t *huma.Tag) bool { return !d.used[t.Name] })
}
