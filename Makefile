# Headgate. `make demo` shows what it does, `make test` proves it.

SHELL := /bin/bash
GO ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CLI := github.com/headgate/headgate/internal/cli
LDFLAGS := -s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT)

# Where `make needs` can install Redis, tests that need it are not skipped.
export HEADGATE_REQUIRE_REDIS ?= $(shell test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo 1)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## build bin/headgate
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/headgate ./cmd/headgate

.PHONY: demo
demo: build ## a storm of 429s around the gate, and the same load through it
	@bin/headgate demo

.PHONY: test
test: needs ## run all tests, with the race detector
	$(GO) test -race $$($(GO) list ./... | grep -v /e2e)
	$(GO) test -run AllocatesNothing . ./internal/gateway # skipped under the race detector
	$(GO) test -race ./e2e # alone: it measures in real time
	cd bench && $(GO) vet ./... && $(GO) test -run . ./...

.PHONY: needs
needs: ## install what tests need and Go does not bring: nginx, Redis, Node, curl, Prometheus, Chromium
	@./scripts/needs curl:curl nginx:nginx-light redis-server:redis-server node:nodejs npm:npm promtool:prometheus chromium:chromium

.PHONY: check
check: test lint ## what CI runs

.PHONY: lint
lint: ## gofmt, vet, staticcheck, govulncheck, tidy
	@fmt=$$(gofmt -l .); test -z "$$fmt" || { echo "gofmt: $$fmt"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	@./scripts/vulncheck $(GO) run $(GOVULNCHECK) ./...

.PHONY: bench
bench: build ## measure, and print what docs/benchmarks.md shows
	cd bench && $(GO) test -run '^$$' -bench Permit -count 6 .
	./scripts/bench-gateway
