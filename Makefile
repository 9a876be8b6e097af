# SecureTag. `make demo` shows the main job, `make test` runs every test; both
# do their own set-up on a fresh machine that has Go, make and git.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod
# Apart, so that it and the linters choose the versions of what both use.
OASDIFF := $(GO) tool -modfile=tools/oasdiff/go.mod oasdiff
# Plugins in modules of their own, so that their engines stay out of the host.
PLUGIN_MODULES := plugins/secrets plugins/web plugins/dependencies plugins/sarif plugins/gosec plugins/iac
# And those of the benchmark's peers, and of the driver of a browser. `make build` does not need them.
OTHER_MODULES := bench/peers internal/browser
MODULES := $(PLUGIN_MODULES) $(OTHER_MODULES)
SHA256SUM := $(shell command -v sha256sum >/dev/null && echo sha256sum || echo shasum -a 256)
# Where the packages of this module are; the other modules are tested apart.
PACKAGES := ./...
# First those that take longest and wait most, so that they do not run on alone.
TESTED := $(if $(filter ./...,$(PACKAGES)),./internal/e2e ./internal/doctest ./cmd/securetag) $(PACKAGES)
# One more than the processors, for many of them wait for other processes.
AT_ONCE := $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)
# SQLite without the race detector, everything else with it: internal/testhost
# says why.
UNTRACED := $(foreach p,modernc.org/sqlite/lib modernc.org/libc modernc.org/memory,-gcflags=$(p)=-race=false)
# -trimpath, so that another checkout of the same code compiles nothing again:
# without it the build cache is one of each directory.
TEST     := test -race -trimpath
# A traced program waits a second before it exits, for races of what still runs;
# there are some sixty of them, with nothing left to run (goleak).
RACE     := GORACE="atexit_sleep_ms=100 $(GORACE)"

.PHONY: all build man demo test test-go test-modules test-kits test-openapi check fmt vet lint generate generate-check freeze bench bench-quick chaos clean help

all: build

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

# The plugins first: the host knows the hashes of those that it was built with,
# and runs nothing else in their place.
build: ## build bin/securetag and the built-in plugins
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/plugins/noop ./plugins/noop
	@set -e; for m in $(PLUGIN_MODULES); do \
		echo "build $$m"; \
		(cd $$m && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o ../../bin/$$m .); \
	done
	@set -e; sums=$$(cd bin/plugins && $(SHA256SUM) noop $(notdir $(PLUGIN_MODULES)) | awk '{printf "%s%s=%s", c, $$2, $$1; c = ","}'); \
		echo "build cmd/securetag"; \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS) -X main.pluginSums=$$sums" -o bin/securetag ./cmd/securetag

man: build ## write the manual pages to bin/man/man1
	bin/securetag man bin/man/man1

demo: build ## scan a project with planted secrets: the main job, nothing to install
	@sh examples/demo.sh

test: ## run every test; installs or starts what they need
	@sh scripts/test-deps.sh
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory -j3 test-go test-modules test-kits test-openapi # side by side: much of it waits

test-go:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/testserver ./internal/testserver/cmd/testserver
	bin/testserver -- env $(RACE) $(GO) $(TEST) -p $(AT_ONCE) -timeout 15m $(UNTRACED) $(TESTED)

test-modules:
	@set -e; for m in $(MODULES); do echo "test $$m"; (cd $$m && $(RACE) $(GO) $(TEST) ./...); done

# The kits by themselves; internal/kits runs them in the real host.
test-kits: ## the plugin kits for Python and Node.js, and the types of the latter
	@deps=$$(sh scripts/kit-deps.sh python sdk/python/requirements.txt) && cd sdk/python && PYTHONPATH=src:$$deps python3 -B -m unittest discover -s tests
	@sh scripts/kit-deps.sh node sdk/node >/dev/null && cd sdk/node && node --test test/ && node node_modules/typescript/bin/tsc -p .

# That api/openapi.json is what hosts serve, and they what it says, is among the
# tests in Go.
test-openapi: ## the API's document: its rules, and that it breaks no client
	@sh scripts/kit-deps.sh node tools/openapi >/dev/null && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		node tools/openapi/node_modules/@redocly/cli/bin/cli.js lint api/openapi.json --config tools/openapi/redocly.yaml
	$(OASDIFF) breaking --fail-on ERR api/openapi.v1.json api/openapi.json

check: fmt vet lint generate-check test ## everything that a change must pass

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt these:"; echo "$$out"; exit 1; }

# With -race, so that it reads what the tests compile.
vet:
	$(GO) vet -race -trimpath $(UNTRACED) $(PACKAGES)
	@set -e; for m in $(MODULES); do (cd $$m && $(GO) vet -race -trimpath ./...); done

lint: ## golangci-lint, pinned in tools/go.mod; reasons are in .golangci.yml
	$(TOOL) golangci-lint run $(PACKAGES)
	@set -e; for m in $(MODULES); do (cd $$m && $(GO) tool -modfile=../../tools/go.mod golangci-lint run ./...); done
	$(TOOL) buf lint
	$(TOOL) buf breaking --against sdk/proto/frozen/v1.txtpb

generate: ## regenerate what is generated and committed
	$(TOOL) buf generate
	sh sdk/python/generate.sh
	$(GO) generate $(PACKAGES)

# After a release, so that what it added to the contract is held as well.
freeze: ## take the contracts of now as the frozen ones; refuses what breaks the last
	$(TOOL) buf breaking --against sdk/proto/frozen/v1.txtpb
	$(TOOL) buf build --exclude-source-info -o sdk/proto/frozen/v1.txtpb
	$(OASDIFF) breaking --fail-on ERR api/openapi.v1.json api/openapi.json
	cp api/openapi.json api/openapi.v1.json

generate-check: generate
	@test -z "$$(git status --porcelain -- sdk docs api)" || { git status --short -- sdk docs api; echo "generated files differ from what is committed: commit the result of 'make generate'"; exit 1; }

# Three rounds or more of all systems and phases write docs/benchmarks.md, fewer
# are only printed. bench/peers/main.go says what there is to choose from.
ROUNDS  ?= 3
CELLS   ?= all
PHASES  ?= all
UPLOADS ?= 5000
SETTLE  ?= 15s
DIR     ?=
bench: build ## ours beside Express + BullMQ, asynq and River, in turns; ROUNDS= CELLS= PHASES=
	@sh scripts/test-deps.sh
	cd bench/peers && $(GO) build -o ../../bin/bench .
	bin/bench -rounds $(ROUNDS) -cells '$(CELLS)' -phases '$(PHASES)' -uploads $(UPLOADS) -settle $(SETTLE) -dir '$(DIR)' -page docs/benchmarks.md -results bin/bench.json

bench-quick: ## ours alone, once, in under a minute
	@$(MAKE) --no-print-directory bench ROUNDS=1 CELLS=securetag PHASES=live,idle,backlog SETTLE=2s

# A long storm and the mutants; the short one is among the tests. A seed repeats
# what is done, not when the machine gets to it.
SEED  ?=
SCANS ?= 3000
chaos: ## kill, stop and wipe everything during SCANS=3000 scans, from SEED; see internal/chaos
	@sh scripts/test-deps.sh
	$(GO) test -count=1 -v -timeout 90m -run 'TestLongStorm|TestMutants' ./internal/chaos -args -seed='$(SEED)' -scans=$(SCANS) -mutants

clean:
	rm -rf bin
