package api

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// reference shows the document to people.
type reference struct{ spec *huma.OpenAPI }

// The parts of the page, as its template takes them.
type (
	typeView struct{ Type, Schema string } // Schema: "" for one without a section of its own

	fieldView struct {
		Name, Description, In string
		Required              bool
		typeView
	}
	bodyView struct {
		Media, Status, Description string
		Fields                     []fieldView
		typeView
	}
	operationView struct {
		ID, Method, Path, Summary, Description string
		Parameters                             []fieldView
		Bodies, Answers                        []bodyView
	}
	tagView struct {
		Name, Description string
		Operations        []operationView
	}
	schemaView struct {
		Name, Description string
		Fields            []fieldView
	}
)

func (r reference) view(style template.CSS) any {
	byTag := map[string][]operationView{}
	for _, path := range slices.Sorted(maps.Keys(r.spec.Paths)) {
		for _, op := range operations(r.spec.Paths[path]) {
			for _, tag := range op.Tags[:min(1, len(op.Tags))] {
				byTag[tag] = append(byTag[tag], r.operation(op))
			}
		}
	}
	var tags []tagView
	for _, tag := range r.spec.Tags {
		tags = append(tags, tagView{tag.Name, tag.Description, byTag[tag.Name]})
	}
	var schemas []schemaView
	all := r.spec.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		schemas = append(schemas, schemaView{name, all[name].Description, r.fields(all[name])})
	}
	return struct {
		Style       template.CSS
		Description string
		Tags        []tagView
		Schemas     []schemaView
	}{style, r.spec.Info.Description, tags, schemas}
}

func (r reference) operation(op *huma.Operation) operationView {
	v := operationView{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description}
	for _, p := range op.Parameters {
		v.Parameters = append(v.Parameters, fieldView{Name: p.Name, In: p.In, Required: p.Required, Description: first(p.Description, p.Schema), typeView: r.of(p.Schema)})
	}
	if op.RequestBody != nil {
		for _, media := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
			s := op.RequestBody.Content[media].Schema
			b := bodyView{Media: media, typeView: r.of(s)}
			if b.Schema == "" {
				b.Fields = r.fields(s)
			}
			v.Bodies = append(v.Bodies, b)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if name, ok := strings.CutPrefix(answer.Ref, "#/components/responses/"); ok {
			answer = r.spec.Components.Responses[name]
		}
		b := bodyView{Status: status, Description: answer.Description}
		for _, media := range slices.Sorted(maps.Keys(answer.Content)) {
			b.typeView = r.of(answer.Content[media].Schema)
		}
		v.Answers = append(v.Answers, b)
	}
	return v
}

// first is the description of a parameter, or that of its schema.
func first(description string, s *huma.Schema) string {
	if description == "" && s != nil {
		return s.Description
	}
	return description
}

// fields are those of an object, the ones that are always there first.
func (r reference) fields(s *huma.Schema) (all []fieldView) {
	if s == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		all = append(all, fieldView{Name: name, Required: slices.Contains(s.Required, name), Description: p.Description, typeView: r.of(p)})
	}
	slices.SortStableFunc(all, func(a, b fieldView) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return all
}

// of is a schema in words.
func (r reference) of(s *huma.Schema) typeView {
	switch {
	case s == nil:
		return typeView{}
	case s.Ref != "":
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return typeView{name, name}
	case s.Type == huma.TypeArray:
		items := r.of(s.Items)
		return typeView{"list of " + items.Type, items.Schema}
	case len(s.Enum) > 0:
		return typeView{Type: strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s.Enum)), ", "), "[]")}
	}
	return typeView{Type: strings.TrimSpace(s.Type + " " + s.Format)}
}
