package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/api/client"
	"github.com/securetaghq/securetag/host"
)

func (a *API) registerConfig(doc huma.API) {
	if a.deps.Configuration == nil {
		return
	}
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"admin"},
			Security: operatorSecurity(), Metadata: map[string]any{forOperators: true}}
	}
	huma.Register(doc, op("get-config", http.MethodGet, "/admin/config", "What is in force on this host",
		"Every setting, where its value comes from, and whether a change waits for a restart. What is sensitive is not shown."), a.showConfig)
	huma.Register(doc, op("preview-reload", http.MethodGet, "/admin/reload", "What a reload would change",
		"The host reads its configuration and changes nothing."), a.previewReload)
	reload := op("reload", http.MethodPost, "/admin/reload", "Read the configuration again",
		"The whole of it is checked first. What needs no restart is taken, all at once; of one with a mistake nothing is. Running jobs keep the limits they started with. Only the host that answers does it.")
	reload.BodyReadTimeout = -1 // body.go has its own
	huma.Register(doc, reload, a.reload)
}

type configOutput struct{ Body client.Page[client.Setting] }

func (a *API) showConfig(context.Context, *struct{}) (*configOutput, error) {
	out := &configOutput{}
	out.Body.Items = []client.Setting{}
	for _, s := range a.deps.Configuration.Settings() {
		out.Body.Items = append(out.Body.Items, client.Setting(s))
	}
	return out, nil
}

type configReloadOutput struct{ Body client.ConfigReload }

func (a *API) previewReload(ctx context.Context, _ *struct{}) (*configReloadOutput, error) {
	changes, err := a.deps.Configuration.Preview(ctx)
	if err != nil {
		return nil, configProblem(err)
	}
	return &configReloadOutput{wireReload(host.ConfigReload{Changes: changes})}, nil
}

func (a *API) reload(ctx context.Context, _ *struct{}) (*configReloadOutput, error) {
	r, err := a.deps.Configuration.Reload(ctx)
	if err != nil {
		return nil, configProblem(err)
	}
	a.log.Info("an operator had the configuration reloaded", "operator", recordOf(ctx).operator)
	return &configReloadOutput{wireReload(r)}, nil
}

func wireReload(r host.ConfigReload) client.ConfigReload {
	out := client.ConfigReload{Changes: []client.ConfigChange{}, Plugins: append([]string{}, r.Plugins...), Waiting: r.Waiting()}
	for _, c := range r.Changes {
		out.Changes = append(out.Changes, client.ConfigChange(c))
	}
	return out
}

// configProblem tells every mistake of a configuration.
func configProblem(err error) *problemError {
	p := problemOf(err, nil)
	if errors.Is(err, host.ErrInvalid) {
		p.Detail = "The configuration is wrong, and nothing was changed: " + err.Error()
	}
	var wrong *host.WrongConfig
	if errors.As(err, &wrong) {
		for _, m := range wrong.Mistakes {
			p.Errors = append(p.Errors, client.ProblemError{Pointer: m.Place, Detail: m.Text})
		}
	}
	return p
}

// configCheck is what /readyz says of the configuration. Nobody needs a key to
// ask, so the mistakes themselves are in the log alone.
func configCheck(s host.ConfigState) client.Check {
	waiting := ""
	if s.Waiting > 0 {
		waiting = fmt.Sprintf("Changes that wait for a restart: %d.", s.Waiting)
	}
	if s.Failed.IsZero() {
		return client.Check{Status: client.Ready, Detail: waiting}
	}
	why := "it could not be taken"
	if s.Mistakes > 0 {
		why = fmt.Sprintf("mistakes in it: %d", s.Mistakes)
	}
	detail := fmt.Sprintf("The reload at %s failed (%s). What was in force before still is; the log says more.", s.Failed.UTC().Format(time.RFC3339), why)
	if waiting != "" {
		detail += " " + waiting
	}
	return client.Check{Status: client.Degraded, Detail: detail}
}
