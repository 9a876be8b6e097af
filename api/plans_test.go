package api_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/securetaghq/securetag/api"
	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

// threePlans is Plans that know three names.
type threePlans struct{ host.FixedPlan }

func (threePlans) Check(name string) error {
	switch name {
	case "", "default", "free", "pro":
		return nil
	case "fre":
		return &host.UnknownPlan{Name: name, Nearest: "free", Known: []string{"default", "free", "pro"}}
	}
	return &host.UnknownPlan{Name: name, Known: []string{"default", "free", "pro"}}
}

// TestUnknownPlan: no tenant is given a plan that there is not, neither a new one
// nor one that has a plan, which stays.
func TestUnknownPlan(t *testing.T) {
	t.Parallel()
	e := newEnvMax(t, api.Config{}, maxArchive, func(d *api.Deps) { d.Plans = threePlans{} })
	e.operator(t, "ann", nil)
	ann := e.client(t, "ann")
	if _, err := ann.CreateTenant(t.Context(), "acme", "pro"); err != nil {
		t.Fatal(err)
	}
	want := func(err error, detail string) {
		t.Helper()
		var refused *client.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusUnprocessableEntity || refused.Code != "invalid" || refused.Detail != detail {
			t.Errorf("refused with %v, want: %s", err, detail)
			return
		}
		if diff := cmp.Diff([]client.ProblemError{{Pointer: "#/plan", Detail: detail}}, refused.Errors); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
	}
	_, err := ann.CreateTenant(t.Context(), "other", "fre")
	want(err, `There is no plan "fre" in the configuration; did you mean "free"? There are: default, free, pro.`)
	if _, err := ann.Tenant(t.Context(), "other"); status(err) != http.StatusNotFound {
		t.Errorf("a tenant that was refused: %v", err)
	}
	_, err = ann.UpdateTenant(t.Context(), "acme", "gold")
	want(err, `There is no plan "gold" in the configuration; there are: default, free, pro.`)
	if got, err := ann.Tenant(t.Context(), "acme"); err != nil || got.Plan != "pro" {
		t.Errorf("after a plan was refused: %+v, %v", got, err)
	}
	for _, plan := range []string{"free", ""} {
		if got, err := ann.UpdateTenant(t.Context(), "acme", plan); err != nil || got.Plan != plan {
			t.Errorf("given plan %q: %+v, %v", plan, got, err)
		}
	}
}
