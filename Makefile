# SecureTag. `make demo` shows the main job, `make test` runs every test; both
# do their own set-up on a fresh machine that has Go, make and git.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod
# Plugins in modules of their own, so that their engines stay out of the host.
PLUGIN_MODULES := plugins/secrets
# Where the packages of this module are; plugin modules are tested apart.
PACKAGES := ./...

.PHONY: all build demo test test-go test-plugins check fmt vet lint generate generate-check bench chaos clean help

all: build

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

build: ## build bin/securetag and the built-in plugins
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/securetag ./cmd/securetag
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/plugins/noop ./plugins/noop
	@set -e; for m in $(PLUGIN_MODULES); do \
		echo "build $$m"; \
		(cd $$m && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o ../../bin/$$m .); \
	done

demo: build ## scan a project with planted secrets: the main job, nothing to install
	@sh examples/demo.sh

test: ## run every test; installs or starts what they need
	@sh scripts/test-deps.sh
	@$(MAKE) --no-print-directory build test-go test-plugins

test-go:
	$(GO) run ./internal/testserver/cmd/testserver -- $(GO) test -race -timeout 9m $(PACKAGES)

test-plugins:
	@set -e; for m in $(PLUGIN_MODULES); do echo "test $$m"; (cd $$m && $(GO) test -race ./...); done

check: fmt vet lint generate-check test ## everything that a change must pass

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt these:"; echo "$$out"; exit 1; }

vet:
	$(GO) vet $(PACKAGES)
	@set -e; for m in $(PLUGIN_MODULES); do (cd $$m && $(GO) vet ./...); done

lint: ## golangci-lint, pinned in tools/go.mod; reasons are in .golangci.yml
	$(TOOL) golangci-lint run $(PACKAGES)
	@set -e; for m in $(PLUGIN_MODULES); do (cd $$m && $(GO) tool -modfile=../../tools/go.mod golangci-lint run ./...); done
	$(TOOL) buf lint

generate: ## regenerate what is generated and committed
	$(TOOL) buf generate
	$(GO) generate $(PACKAGES)

generate-check: generate
	@test -z "$$(git status --porcelain -- sdk/proto docs)" || { git status --short -- sdk/proto docs; echo "generated files differ from what is committed: commit the result of 'make generate'"; exit 1; }

bench: build ## accepted/s, completed/s and send-to-start latency, on both stores
	$(GO) test -run '^$$' -bench . -benchtime 3000x -timeout 30m ./bench

# A long storm and the mutants; the short one is among the tests. A seed repeats
# what is done, not when the machine gets to it.
SEED  ?=
SCANS ?= 3000
chaos: ## kill, stop and wipe everything during SCANS=3000 scans, from SEED; see internal/chaos
	@sh scripts/test-deps.sh
	$(GO) test -count=1 -v -timeout 90m -run 'TestLongStorm|TestMutants' ./internal/chaos -args -seed='$(SEED)' -scans=$(SCANS) -mutants

clean:
	rm -rf bin
