// Package composetest holds docker-compose.yml and the Dockerfile to what they
// promise, without Docker: against the Compose schema, against the settings and
// verbs that exist, and against the Makefile whose steps they repeat.
//
// testdata/compose-spec.json is schema/compose-spec.json of
// github.com/compose-spec/compose-go v2.16.2 (Apache-2.0).
package composetest
