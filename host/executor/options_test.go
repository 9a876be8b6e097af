package executor_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/securetaghq/securetag/host"
	"github.com/securetaghq/securetag/host/executor"
	"github.com/securetaghq/securetag/sdk/proto/pluginv1"
)

// TestOptionsOfAPlugin: it gets those of the scan type that it knows, and all
// that were given for it, which count first.
func TestOptionsOfAPlugin(t *testing.T) {
	t.Parallel()
	shared := map[string]json.RawMessage{"depth": json.RawMessage("3"), "mode": json.RawMessage(`"fast"`)}
	for _, c := range []struct {
		knows  []string
		own    string
		shared map[string]json.RawMessage
		want   string
	}{
		{nil, "", nil, `{}`},
		{nil, "", shared, `{}`},
		{[]string{"depth"}, "", shared, `{"depth":3}`},
		{[]string{"depth"}, `{"depth": 9}`, shared, `{"depth": 9}`},
		{[]string{"depth", "mode"}, `{"depth": 9}`, shared, `{"depth":9,"mode":"fast"}`},
		{[]string{"depth"}, `{"unknown":1}`, nil, `{"unknown":1}`},
		{[]string{"depth"}, `no JSON`, shared, `no JSON`},
	} {
		task := host.Task{Shared: c.shared}
		if c.own != "" {
			task.Options = json.RawMessage(c.own)
		}
		if got := executor.OptionsOf(executor.Info{Options: c.knows}, task); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

// TestSecretsOfAPlugin: it gets those that it calls secret, and none of them from
// where all can see it.
func TestSecretsOfAPlugin(t *testing.T) {
	t.Parallel()
	secret := map[string]json.RawMessage{"login": json.RawMessage(`"x"`), "depth": json.RawMessage("9")}
	for _, c := range []struct {
		knows, secret []string
		shared        map[string]json.RawMessage
		want          string
	}{
		{nil, nil, nil, `{}`},
		{[]string{"depth", "login"}, nil, nil, `{}`},
		{[]string{"depth", "login"}, []string{"login"}, nil, `{"login":"x"}`},
		{[]string{"depth", "login"}, []string{"login"}, map[string]json.RawMessage{"login": json.RawMessage(`"shown"`), "depth": json.RawMessage("3")}, `{"depth":3,"login":"x"}`},
	} {
		if got := executor.OptionsOf(executor.Info{Options: c.knows, Secret: c.secret}, host.Task{Shared: c.shared, Secret: secret}); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

// TestSecretOptions: a plugin says itself which of its options are secret.
func TestSecretOptions(t *testing.T) {
	t.Parallel()
	info, err := executor.CheckDescription(&pluginv1.DescribeResponse{
		Name: "web", ApiVersions: []uint32{1}, Consumes: []pluginv1.Input{pluginv1.Input_INPUT_URL},
		OptionsSchema: &pluginv1.Block{Attributes: []*pluginv1.Attribute{{Name: "depth"}, {Name: "login", Sensitive: true}}},
	})
	if err != nil || !slices.Equal(info.Options, []string{"depth", "login"}) || !slices.Equal(info.Secret, []string{"login"}) {
		t.Errorf("%q, %q, %v", info.Options, info.Secret, err)
	}
}
