package main

import (
	"bytes"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// FuzzRead: whatever a file is, reading it ends, the documents are all of it, and
// what the checks get is within its lines and can be given to them.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		pod, weakDockerfile, "---\n" + pod + "--- {a: b}\n...\n%YAML 1.2\n---\nx", `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {}}, null]}`,
		"apiVersion: v1\nkind: Pod\nmetadata: &m {name: *m}\n", "apiVersion: v1\nkind: PodList\nmetadata: {}\nitems:\n- <<: [{apiVersion: a}, {kind: b}]\n  metadata: {? [a] : b}\n",
		"FROM a AS b\nONBUILD RUN [\"x\"]\nRUN <<A <<-B\nx\nA\n\ty\nB\nCOPY --from=b --new=1 x y\n# trivy:ignore:DS*:exp:2027-01-01\nUSER 0\n", "# escape=`\nFROM a\nRUN x `\n y\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		last := bytes.Count(text, []byte("\n")) + 1
		var all []byte
		for _, p := range split(text) {
			if bytes.Count(all, []byte("\n")) != p.lines {
				t.Errorf("a document after %d lines is said to be after %d", bytes.Count(all, []byte("\n")), p.lines)
			}
			all = append(all, p.text...)
			objects, err := readPart(p)
			if err != nil {
				_ = explain(p, err).Error()
			}
			for _, o := range objects {
				if o.from <= p.lines || o.to < o.from || o.to > last {
					t.Errorf("%s is on the lines %d to %d of %d", o, o.from, o.to, last)
				}
				if _, err := ast.InterfaceToValue(o.body); err != nil {
					t.Error(err)
				}
			}
		}
		if !bytes.Equal(all, text) {
			t.Errorf("the documents are %q", all)
		}
		if document, err := readDockerfile(text, "Dockerfile"); err == nil {
			if _, err := ast.InterfaceToValue(document); err != nil {
				t.Error(err)
			}
		}
		for _, ig := range readIgnores(text) {
			if ig.id == "" || ig.at > ig.line || ig.line > last {
				t.Errorf("%+v", ig)
			}
			_ = ig.fits(&check{id: "DS-0001"})
		}
	})
}
