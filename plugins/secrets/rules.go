package main

import (
	"strings"

	"github.com/securetaghq/securetag/sdk"
)

const recommendation = "Revoke the secret where it was issued and replace it. " +
	"Taking the line out is not enough: it stays in the history, in copies and in this report's input."

// rules declares every rule of gitleaks' default configuration.
func (e *engine) rules() []sdk.Rule {
	var out []sdk.Rule
	for _, r := range e.config.GetOrderedRules() {
		out = append(out, sdk.Rule{
			ID:             r.RuleID,
			Title:          title(r.RuleID),
			Description:    r.Description,
			Recommendation: recommendation,
			Severity:       severity(r.RuleID),
			CWE:            weaknesses(r.RuleID),
			Tags:           append([]string{"secret"}, r.Tags...),
		})
	}
	return out
}

// severity: gitleaks has none. A leaked credential is high, because whoever
// reads it can use it until it is revoked. Critical are those that are whole by
// themselves (no second half, no user name) and whose holder takes over an
// identity or the infrastructure rather than one service's data.
func severity(rule string) sdk.Severity {
	switch rule {
	case "private-key", "age-secret-key", // sign or decrypt as the owner
		"alibaba-secret-key", "azure-ad-client-secret", "digitalocean-pat", "digitalocean-access-token", // cloud accounts
		"hashicorp-tf-api-token", "pulumi-api-token", // what builds the infrastructure
		"vault-service-token", "vault-batch-token", "1password-service-account-token": // where all other secrets are
		return sdk.Critical
	}
	return sdk.High
}

// confidence: the generic rule guesses from names and entropy, the others know
// the form of one issuer's secrets. None of them is checked with the issuer.
func confidence(rule string) sdk.Confidence {
	if strings.Contains(rule, "generic") {
		return sdk.ConfidenceLow
	}
	return sdk.ConfidenceMedium
}

func weaknesses(rule string) []int {
	if rule == "private-key" || rule == "age-secret-key" || rule == "pkcs12-file" {
		return []int{321, 798} // hard-coded cryptographic key, hard-coded credentials
	}
	return []int{798}
}

// title makes "AWS access token" of aws-access-token.
func title(rule string) string {
	upper := " api aws gcp jwt npm pat id ad ci cicd scim rrt ptt http url ui tf ca "
	words := strings.FieldsFunc(rule, func(r rune) bool { return r == '-' || r == '_' })
	for i, w := range words {
		switch {
		case strings.Contains(upper, " "+w+" "):
			words[i] = strings.ToUpper(w)
		case i == 0:
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}
