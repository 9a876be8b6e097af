package main

import (
	"cmp"
	"slices"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// TestAtOnce: checks that are made at once write nothing of what they share, from
// the first on. The race detector is who sees it. The check unites a constant set
// with another: Open Policy Agent sorts sets in place, when they are first wanted
// in order, and reads them unsorted for a union.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	document, err := readDockerfile([]byte("FROM a:1\nENV GH_TOKEN=x\nENV HF_TOKEN=x\nENV OPENAI_API_KEY=x\nENV OTHER=x\n"), "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	only := slices.DeleteFunc(slices.Clone(allChecks()), func(k *check) bool { return k.id != secretsInDockerfile })
	for range 10 { // each new: that is once
		e, err := engineOf(t.Context(), dockerfile, only)
		if err != nil {
			t.Fatal(err)
		}
		var at, ended sync.WaitGroup
		at.Add(1)
		for range 4 {
			value, err := ast.InterfaceToValue(document)
			if err != nil {
				t.Fatal(err)
			}
			ended.Go(func() {
				at.Wait()
				if found, err := e.group("").look(t.Context(), value); err != nil || len(found) != 3 {
					t.Errorf("%d found, %v", len(found), err)
				}
			})
		}
		at.Done()
		ended.Wait()
	}
}

// TestTogetherAsAlone: checks that are made in one query find what each finds alone,
// of every kind of object.
func TestTogetherAsAlone(t *testing.T) {
	t.Parallel()
	e, err := newEngine(t.Context(), kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for kind := range e.groups {
		text := "apiVersion: v1\nkind: " + cmp.Or(kind, "Other") + "\nmetadata: {name: a, namespace: default}\ndata: {password: x}\nrules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]\n" +
			"roleRef: {kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: a}]\n" +
			"spec: {hostNetwork: true, externalIPs: [1.1.1.1], containers: [{name: c, image: a}], template: {spec: {containers: [{name: c, image: a, securityContext: {privileged: true}}]}}}\n"
		objects, err := readYAML(part{text: []byte(text)})
		if err != nil || len(objects) != 1 {
			t.Fatalf("%q: %d objects, %v", kind, len(objects), err)
		}
		value, err := ast.InterfaceToValue(objects[0].body)
		if err != nil {
			t.Fatal(err)
		}
		together, err := e.group(kind).look(t.Context(), value)
		if err != nil {
			t.Fatal(err)
		}
		var alone []problem
		for _, k := range allChecks() {
			if k.language != kubernetes || !k.fits(kind) {
				continue
			}
			found, err := e.look(t.Context(), k, value)
			if err != nil {
				t.Fatal(err)
			}
			alone = append(alone, found...)
		}
		if !slices.Equal(together, alone) {
			t.Errorf("%q: %d found together and %d alone", kind, len(together), len(alone))
		}
		all += len(alone)
	}
	if all < 100 {
		t.Errorf("%d found of %d kinds: the objects have too few problems to tell", all, len(e.groups))
	}
}
