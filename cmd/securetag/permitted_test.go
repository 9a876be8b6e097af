package main

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/host"
)

type someTenants struct {
	host.TenantStore
	all []host.Tenant
}

func (s someTenants) Tenants(context.Context) ([]host.Tenant, error) { return s.all, nil }

// TestTellPermitted: a host whose tenants all have to prove what they have scanned
// says so, such as one that is older than permission.
func TestTellPermitted(t *testing.T) {
	t.Parallel()
	before, own := host.Tenant{Name: "a"}, host.Tenant{Name: "b"}
	own.Terms.Override.Targets = &[]string{"*"}
	none := before
	none.Terms.Override.Targets = &[]string{}
	plan, noURL := config.Default(), config.Default()
	premium := plan.Plans["premium"]
	premium.Targets = []string{"example.com"}
	plan.Plans["premium"] = premium
	delete(noURL.Scans, "web")
	for name, tt := range map[string]struct {
		cfg     config.Config
		tenants []host.Tenant
		told    bool
	}{
		"before":        {config.Default(), []host.Tenant{before, none}, true},
		"nobody":        {config.Default(), nil, false},
		"one's own":     {config.Default(), []host.Tenant{before, own}, false},
		"by a plan":     {plan, []host.Tenant{before}, false},
		"no such scans": {noURL, []host.Tenant{before}, false},
	} {
		var out strings.Builder
		log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info})
		if err := tellPermitted(t.Context(), tt.cfg, someTenants{all: tt.tenants}, log); err != nil {
			t.Error(err)
		}
		if told := strings.Contains(out.String(), "nothing scanned by URL") && strings.Contains(out.String(), "web"); told != tt.told {
			t.Errorf("%s: told %t: %s", name, told, &out)
		}
	}
}
