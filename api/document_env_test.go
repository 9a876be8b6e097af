package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openAPI is the served document, compiled.
type openAPI struct {
	raw      map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
}

// documents are those that were read, by their text: nearly all tests serve the
// same one, and to read it and compile its schemas takes longer than most of
// them. What is in here nobody changes.
var documents struct {
	sync.Mutex
	byText map[string]*openAPI
}

func loadDoc(t testing.TB, h http.Handler) *openAPI {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	text := w.Body.String()
	documents.Lock()
	defer documents.Unlock()
	if doc := documents.byText[text]; doc != nil {
		return doc
	}
	raw, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("https://x/openapi.json", raw); err != nil {
		t.Fatal(err)
	}
	doc := &openAPI{raw: raw.(map[string]any), compiler: c}
	if documents.byText == nil {
		documents.byText = map[string]*openAPI{}
	}
	documents.byText[text] = doc
	return doc
}

// compile gives the schema that a pointer leads to.
func (d *openAPI) compile(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiler.Compile("https://x/openapi.json" + pointer)
}
