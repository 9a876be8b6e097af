package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/internal/safetext"
)

// CycloneDX is a list of components, made of documents that jobs have kept. It
// is none of Formats: those are made of findings.
const CycloneDX Format = "cyclonedx"

// CycloneDXMedia is the type of artifacts that are such documents.
const CycloneDXMedia = "application/vnd.cyclonedx+json"

// BOM is the document that one job has kept.
type BOM struct {
	Plugin string
	JSON   []byte
}

type object = map[string]any

// WriteCycloneDX writes the documents of a scan as one. Of several, the
// references of each are made its own, and its root becomes a component. When a
// job of the scan did not succeed, the document says that it is incomplete and
// why. An error wraps host.ErrConflict when what a job has kept is no CycloneDX.
func WriteCycloneDX(w io.Writer, s client.Scan, version string, boms []BOM) error {
	docs := make([]object, len(boms))
	for i, b := range boms {
		doc, err := parseBOM(b.JSON)
		if err != nil {
			return fmt.Errorf("the document of plugin %s is no CycloneDX document in JSON: %w: %w", b.Plugin, err, host.ErrConflict)
		}
		docs[i] = doc
	}
	doc := docs[0]
	if len(docs) > 1 {
		doc = merge(s, version, boms, docs)
	}
	if gaps := incomplete(s); len(gaps) > 0 {
		markIncomplete(doc, s, gaps)
	}
	out, err := json.Marshal(doc)
	if err == nil {
		_, err = w.Write(append(safetext.JSON(out), '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s report: %w", CycloneDX, err)
	}
	return nil
}

// parseBOM checks as much as merging relies on.
func parseBOM(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var doc object
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	spec, _ := doc["specVersion"].(string)
	if doc["bomFormat"] != "CycloneDX" || !strings.HasPrefix(spec, "1.") {
		return nil, fmt.Errorf("bomFormat is %.40q and specVersion %.40q", fmt.Sprint(doc["bomFormat"]), spec)
	}
	for _, key := range []string{"components", "compositions", "dependencies", "vulnerabilities"} {
		if v, ok := doc[key]; ok {
			if _, ok := v.([]any); !ok {
				return nil, fmt.Errorf("%s is no list", key)
			}
		}
	}
	if v, ok := doc["metadata"]; ok {
		if _, ok := v.(object); !ok {
			return nil, errors.New("metadata is no object")
		}
	}
	return doc, nil
}

// merge puts every list of the documents into one.
func merge(s client.Scan, version string, boms []BOM, docs []object) object {
	out := object{"bomFormat": "CycloneDX", "version": 1}
	tools := []any{object{"type": "application", "name": "SecureTag", "version": version}}
	spec := "1.5"
	for i, doc := range docs {
		prefix := fmt.Sprintf("%s-%d:", boms[i].Plugin, i+1)
		own(doc, prefix)
		spec = latest(spec, doc["specVersion"].(string))
		if meta, ok := doc["metadata"].(object); ok {
			if root, ok := meta["component"].(object); ok {
				out["components"] = append(list(out["components"]), root)
			}
			if t, ok := meta["tools"].(object); ok {
				tools = append(tools, list(t["components"])...)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			if l, ok := doc[key].([]any); ok {
				out[key] = append(list(out[key]), l...)
			}
		}
	}
	root := object{"type": "application", "bom-ref": "scan", "name": cmp.Or(s.Project, s.ID)}
	out["specVersion"] = spec
	out["$schema"] = "http://cyclonedx.org/schema/bom-" + spec + ".schema.json"
	out["metadata"] = object{"component": root, "tools": object{"components": tools}}
	if s.FinishedAt != nil {
		out["metadata"].(object)["timestamp"] = s.FinishedAt.UTC().Format(time.RFC3339)
	}
	return out
}

// refs are the names of what holds a reference, or a list of them.
var refs = []string{"bom-ref", "ref", "dependsOn", "provides", "assemblies", "dependencies", "vulnerabilities", "subjects"} //nolint:gochecknoglobals // a table, never written

// own puts the prefix before every reference below v.
func own(v any, prefix string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			own(e, prefix)
		}
	case object:
		for key, e := range v {
			isRef := slices.Contains(refs, key)
			switch e := e.(type) {
			case string:
				if isRef {
					v[key] = prefix + e
				}
			case []any:
				for i, x := range e {
					if text, ok := x.(string); ok && isRef {
						e[i] = prefix + text
					}
				}
				own(e, prefix)
			default:
				own(e, prefix)
			}
		}
	}
}

// markIncomplete says what did not see everything. The serial number names the
// document as the job kept it, which this is not any more.
func markIncomplete(doc object, s client.Scan, gaps []client.Job) {
	delete(doc, "serialNumber")
	meta, ok := doc["metadata"].(object)
	if !ok {
		meta = object{}
		doc["metadata"] = meta
	}
	root, ok := meta["component"].(object)
	if !ok {
		root = object{"type": "application", "name": s.ID}
		meta["component"] = root
	}
	ref, ok := root["bom-ref"].(string)
	if !ok {
		ref = "scan"
		root["bom-ref"] = ref
	}
	for _, j := range gaps {
		meta["properties"] = append(list(meta["properties"]), object{"name": "securetag:incomplete", "value": j.Plugin + " " + string(j.State)})
	}
	doc["compositions"] = append(list(doc["compositions"]), object{"aggregate": "incomplete", "assemblies": []any{ref}})
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// latest compares versions of the specification, such as 1.6.
func latest(a, b string) string {
	if len(b) > len(a) || len(b) == len(a) && b > a {
		return b
	}
	return a
}
