package api

import (
	"encoding/json"
	"maps"

	"github.com/danielgtaylor/huma/v2"
)

// optionsSchema documents what a scan of a type takes as options: its own, as
// the operator declared them, and an object for each of its plugins.
func (a *API) optionsSchema(scanType string) *huma.Schema {
	out := &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "JSON, by name the options of the scan type, and by plugin name an object for that plugin: at most 16 KiB, nested at most 8 deep.",
	}
	for _, t := range a.deps.Intake.Types() {
		var schema map[string]any
		if t.Name != scanType || json.Unmarshal(t.Options, &schema) != nil { // intake has read it; nil: there are none
			continue
		}
		properties, _ := schema["properties"].(map[string]any)
		for _, p := range t.Plugins {
			properties[p] = map[string]any{"type": "object"}
		}
		// As it is: huma's own schemas do not have all of it.
		out.Extensions = map[string]any{}
		maps.Copy(out.Extensions, schema)
		delete(out.Extensions, "type")
		delete(out.Extensions, "additionalProperties")
		if required, _ := schema["required"].([]any); len(required) == 0 {
			delete(out.Extensions, "required")
		}
		out.AdditionalProperties = false
	}
	return out
}

// documentOptions narrows the options in a body that all scan types share to
// those of one. Intake checks them; this is what clients read.
func (a *API) documentOptions(body *huma.RequestBody, scanType string) {
	options := a.optionsSchema(scanType)
	if options.Extensions == nil {
		return
	}
	narrowed := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"options": options}}
	if _, required := options.Extensions["required"]; required {
		narrowed.Required = []string{"options"}
	}
	media := body.Content["application/json"]
	media.Schema = &huma.Schema{AllOf: []*huma.Schema{media.Schema, narrowed}}
}

// secretsSchema documents the secrets of an upload. Which ones a scan type takes
// its plugins say, who may not have been started yet.
func secretsSchema() *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true, WriteOnly: true,
		Description: "JSON, by name the options that nobody is shown: at most 16 KiB, nested at most 8 deep. They are sealed, and removed when the scan has ended.",
	}
}
