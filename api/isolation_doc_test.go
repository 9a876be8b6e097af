package api_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
)

// operation is one of the served document, as far as the isolation test reads it.
type operation struct {
	method, path, id string
	guard            string  // whose key it wants: "tenant", "operator", or "" for nobody's
	params           []param // of the path, in order
	queries          []param // that take free text
	pages            bool    // it takes page tokens
	media            string  // of its body; "" for none
	schema           map[string]any
	streams          bool // a success has no end
}

// param is a place in a request: what it is called, and what it is called in the
// table of what alice has.
type param struct{ name, object string }

// operations are those of the document.
func operations(t *testing.T, doc *openAPI) (all []operation) {
	t.Helper()
	for path, item := range doc.raw["paths"].(map[string]any) {
		for method, raw := range item.(map[string]any) {
			op := raw.(map[string]any)
			o := operation{method: strings.ToUpper(method), path: path, id: op["operationId"].(string), guard: guardOf(t, path, op)}
			o.params = pathParams(path)
			o.readQueries(t, op)
			if body, ok := op["requestBody"].(map[string]any); ok {
				o.readBody(doc, body)
			}
			if ok, _ := op["responses"].(map[string]any)["200"].(map[string]any); ok != nil {
				content, _ := ok["content"].(map[string]any)
				o.streams = content["text/event-stream"] != nil
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func guardOf(t *testing.T, path string, op map[string]any) string {
	t.Helper()
	schemes, _ := op["security"].([]any)
	for _, s := range schemes {
		switch one := s.(map[string]any); {
		case one["apiKey"] != nil:
			return "tenant"
		case one["operatorKey"] != nil:
			return "operator"
		}
	}
	if len(schemes) > 0 {
		t.Errorf("%s is documented with security that this test does not know: %v", path, schemes)
	}
	return ""
}

// pathParams names each by the segment before it: an {id} is of many things.
func pathParams(path string) (all []param) {
	before := ""
	for segment := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(segment, "{") {
			all = append(all, param{segment, before + "/" + segment})
		}
		before = segment
	}
	return all
}

// readQueries finds the parameters that may name something of a tenant's: text
// that is not one of a few words.
func (o *operation) readQueries(t *testing.T, op map[string]any) {
	t.Helper()
	params, _ := op["parameters"].([]any)
	for _, raw := range params {
		p := raw.(map[string]any)
		name, schema := p["name"].(string), p["schema"].(map[string]any)
		switch {
		case p["in"] == "header" && p["required"] == true:
			t.Errorf("%s %s requires the header %s, which this test does not send: teach it to", o.method, o.path, name)
		case p["in"] != "query" || schema["type"] != "string" || schema["enum"] != nil || schema["format"] == "date-time":
		case name == "page_token":
			o.pages = true
		default:
			o.queries = append(o.queries, param{name, "?" + name})
		}
	}
}

func (o *operation) readBody(doc *openAPI, body map[string]any) {
	content := body["content"].(map[string]any)
	for media, raw := range content {
		if o.media == "" || media < o.media {
			o.media = media
			o.schema, _ = raw.(map[string]any)["schema"].(map[string]any)
		}
	}
	o.schema = doc.resolve(o.schema)
}

func (d *openAPI) resolve(schema map[string]any) map[string]any {
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	return d.raw["components"].(map[string]any)["schemas"].(map[string]any)[ref[strings.LastIndex(ref, "/")+1:]].(map[string]any)
}

// body is the least that the document calls valid, and its content type.
func (o *operation) body(t *testing.T, doc *openAPI) (string, string) {
	t.Helper()
	if o.media != "multipart/form-data" {
		b, err := json.Marshal(doc.least(o.schema))
		if err != nil {
			t.Fatal(err)
		}
		return string(b), o.media
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	required, _ := o.schema["required"].([]any)
	for _, name := range required {
		part, err := w.CreateFormFile(name.(string), "a.zip")
		if err != nil {
			t.Fatal(err)
		}
		content := []byte("PK")
		schema := doc.resolve(o.schema["properties"].(map[string]any)[name.(string)].(map[string]any))
		if schema["type"] == "object" {
			if content, err = json.Marshal(doc.least(schema)); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = part.Write(content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// least is the smallest value of a schema.
func (d *openAPI) least(schema map[string]any) any {
	schema = d.resolve(schema)
	if all, _ := schema["allOf"].([]any); len(all) > 0 {
		out := map[string]any{}
		for _, one := range all {
			maps.Copy(out, d.least(one.(map[string]any)).(map[string]any))
		}
		return out
	}
	for _, key := range []string{"const", "default", "example"} {
		if v, ok := schema[key]; ok {
			return v
		}
	}
	for _, key := range []string{"enum", "examples"} {
		if v, _ := schema[key].([]any); len(v) > 0 {
			return v[0]
		}
	}
	kind, _ := schema["type"].(string)
	switch kind {
	case "string":
		n, _ := schema["minLength"].(json.Number)
		least, _ := n.Int64()
		return strings.Repeat("x", int(max(least, 1)))
	case "integer", "number":
		if v, ok := schema["minimum"]; ok {
			return v
		}
		return 0
	case "boolean":
		return true
	case "array":
		if n, _ := schema["minItems"].(json.Number); n == "" || n == "0" {
			return []any{}
		}
		return []any{d.least(schema["items"].(map[string]any))}
	}
	out := map[string]any{}
	required, _ := schema["required"].([]any)
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range required {
		out[name.(string)] = d.least(properties[name.(string)].(map[string]any))
	}
	return out
}
