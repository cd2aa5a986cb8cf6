# Chronik: build, run and test. `make help` lists the targets.
GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/chronik-io/chronik/internal/version.Version=$(VERSION)
BINARIES := chronik-server chronikctl chronik-bench chronik-top

.DEFAULT_GOAL := help
.PHONY: help build run test race lint

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

build: ## the four static binaries in bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ $(BINARIES:%=./cmd/%)

run: build ## one broker on 127.0.0.1:9092, data in ./chronik-data
	$(BIN)/chronik-server start

test: ## all fast tests
	$(GO) test ./...
