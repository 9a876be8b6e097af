package api

import (
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securetaghq/securetag/host"
)

// scopeOf is the one table of what a tenant's key needs for an operation; "" for
// one that is not in it, which no key may do.
func scopeOf(op *huma.Operation) host.Scope {
	if op.Metadata[creates] != nil {
		return host.ScopeScanWrite
	}
	switch op.OperationID {
	case "cancel-scan", "delete-scan", "create-target", "verify-target", "delete-target":
		return host.ScopeScanWrite
	case "list-scans", "get-scan", "list-findings", "list-artifacts", "download-artifact", "get-report", "list-plugins", "get-usage", "get-deletion",
		"watch-scan", "watch-scans", "list-projects", "get-project", "list-project-findings", "get-finding", "diff-scan",
		"list-targets", "get-target":
		return host.ScopeScanRead
	case "create-project", "set-project", "triage-finding", "triage-findings":
		return host.ScopeFindingWrite
	case "list-own-keys", "create-own-key", "rotate-own-key", "revoke-own-key", "delete-project-scans":
		return host.ScopeAdmin
	case "list-webhooks", "create-webhook", "get-webhook", "update-webhook", "delete-webhook", "rotate-webhook", "test-webhook",
		"list-deliveries", "replay-delivery": // their URLs may hold secrets, so reading is no less
		return host.ScopeWebhookWrite
	}
	return ""
}

func kindScope(need host.Scope) kind {
	return kind{403, "insufficient_scope", "Insufficient scope", fmt.Sprintf("This needs a key with the scope %s.", need)}
}

// allow says whether a key that is good may do an operation.
func allow(key host.Key, op *huma.Operation) error {
	if key.Suspended {
		return &problemError{Problem: kind{403, "tenant_suspended", "Tenant suspended", ""}.problem(
			"This tenant is suspended: its keys open nothing and none of its queued jobs start. Ask the operator.")}
	}
	need := scopeOf(op)
	if need != "" && key.Scopes.Has(need) {
		return nil
	}
	return &problemError{
		Problem: kindScope(need).problem(
			fmt.Sprintf("This needs a key with the scope %s; this key has %s.", need, key.Scopes)),
		header: http.Header{"Www-Authenticate": {fmt.Sprintf(`Bearer realm="securetag", error="insufficient_scope", scope="%s"`, need)}},
	}
}
