package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the tool: fakeTool says how it misbehaves.
const fakeEnv = "SARIF_FAKE"

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeEnv); how != "" {
		os.Exit(fakeTool(how, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
