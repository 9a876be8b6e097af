// Package property tests a running host from its own OpenAPI document, with
// schemathesis: what the document allows is sent, what it forbids is sent, keys
// are left out, links are followed, and every answer has to be one that the
// document knows. hooks.py says what OpenAPI cannot say of the API.
package property
