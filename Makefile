# Chronik: build, run and test. `make` lists the targets.
GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/chronik-io/chronik/internal/version.Version=$(VERSION)
BINARIES := chronik-server chronikctl chronik-bench chronik-top
# Packages whose tests run again under the race detector: all that own goroutines.
RACE     := ./internal/wal ./internal/partition ./internal/metalog ./internal/membership ./internal/replica ./internal/group \
            ./internal/kafkaserver ./internal/peer ./internal/controller ./internal/node ./internal/metaclient
TESTFLAGS ?=
FUZZTIME ?= 20s
SEEDS    ?= 20000
ROUNDS   ?= 200
KILLS    ?= 50
FAULTS   ?= 100

.DEFAULT_GOAL := help
.PHONY: help build run test race lint fuzz test-clients test-clients-cluster test-cluster conformance conformance-cluster sim nemesis failover moves gap torture bench completions

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

build: ## the four static binaries in bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ $(BINARIES:%=./cmd/%)

run: build ## one broker on 127.0.0.1:9092, data in ./chronik-data
	$(BIN)/chronik-server start

test: ## all fast tests
	$(GO) test $(TESTFLAGS) ./...

race: ## the concurrent packages under the race detector
	$(GO) test -race -timeout 15m $(RACE)

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

fuzz: ## every fuzz target for FUZZTIME each
	scripts/fuzz.sh $(FUZZTIME)

test-clients: build ## real client libraries against a real node
	tests/clients/run.sh

test-clients-cluster: build ## the same on three nodes, also while each of them is killed
	tests/clients/run.sh 3

test-cluster: build ## shell scripts against real processes, TAP output
	tests/cluster/run.sh

conformance: ## every answer compared with those recorded from Apache Kafka
	tests/conformance/run.sh

conformance-cluster: ## the same with a cluster of three, as Kafka's was
	tests/conformance/run.sh 3

sim: ## the simulator: SEEDS=n
	CHRONIK_SEEDS=$(SEEDS) $(GO) test ./internal/sim -count=1 -timeout 0 -v -run 'TestSeeds|TestScorecard|TestPlaneSeeds|TestEndToEndSeeds|TestPlaneScorecard'

nemesis: ## three processes killed and stopped under metadata changes: ROUNDS=n, CHRONIK_SEED=n
	CHRONIK_NEMESIS_ROUNDS=$(ROUNDS) $(GO) test ./tests/nemesis -count=1 -timeout 0 -v -run 'TestMetadataUnderFaults'

failover: ## time without an acknowledged change when the controller is killed: KILLS=n
	CHRONIK_NEMESIS_KILLS=$(KILLS) $(GO) test ./tests/nemesis -count=1 -timeout 0 -v -run 'TestFailover'

moves: ## coordinators of groups and leaders of idempotent producers' partitions killed: KILLS=n in each part
	CHRONIK_FAILOVER_KILLS=$(KILLS) $(GO) test ./tests/failover -count=1 -timeout 0 -v

torture: ## three processes, their network and disks damaged under checked load: FAULTS=n or DURATION=10m, SEED=n
	$(if $(DURATION),CHRONIK_TORTURE_TIME=$(DURATION),CHRONIK_TORTURE_FAULTS=$(FAULTS)) $(if $(SEED),CHRONIK_SEED=$(SEED)) \
	    $(GO) test ./tests/torture -count=1 -timeout 0 -v -run 'TestTorture'

gap: ## time without an ack at acks=all when a broker is killed, stopped or shut down: KILLS=n, KINDS=kill-broker,..., CALM=seconds before each
	CHRONIK_GAP_KILLS=$(KILLS) CHRONIK_GAP_FAULTS=$(KINDS) CHRONIK_GAP_CALM=$(CALM) $(GO) test ./tests/nemesis -count=1 -timeout 0 -v -run 'TestGap'

bench: build ## the micro-benchmarks of the storage and metadata packages
	$(GO) test -run '^$$' -bench . -benchtime 1s ./internal/wal ./internal/partition ./internal/metalog ./internal/metadata

completions: build ## regenerate completions/
	scripts/completions.sh
