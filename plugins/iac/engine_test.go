package main

import (
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
				if found, err := e.look(t.Context(), only[0], value); err != nil || len(found) != 3 {
					t.Errorf("%d found, %v", len(found), err)
				}
			})
		}
		at.Done()
		ended.Wait()
	}
}
