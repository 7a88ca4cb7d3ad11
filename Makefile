# SPDX-License-Identifier: Apache-2.0

# make          static binaries in bin/
# make demo     three nodes on this machine; every pod reaches every other
# make test     everything; needs root or user namespaces, touches no network of the machine
# make soak     random faults for ten minutes (SOAKTIME) on three nodes while leases churn
# make kubeapi  the Kubernetes servers that make test runs, from their source
# make image-root  the container image's root file system, in bin/rootfs
# make check    make test, and formatting and static analysis before it

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LAB     := bin/percale-lab --name demo

# The race detector needs a C compiler and its headers.
RACE   := $(shell printf '\043include <stdlib.h>\nint main(void){return 0;}' | \
            $$($(GO) env CC) -x c - -o /dev/null 2>/dev/null && echo -race)
GOTEST := PERCALE_BIN=$(CURDIR)/bin $(GO) test -count=1 -exec $(CURDIR)/e2e/in-netns

.PHONY: build kubeapi plugins image-root demo test check test-kernel fuzz soak bench ready clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

# The Kubernetes servers that tests run; five minutes, unless in the build cache.
# go vet stays away: it would look at all of Kubernetes first, for minutes.
kubeapi:
	cd e2e/kubeapi && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/bin/ .

# The reference plugins that tests chain behind percale-cni.
plugins:
	cd dist/plugins && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/bin/cni/ tool

image-root:
	VERSION=$(VERSION) dist/rootfs bin/rootfs

demo: build
	@set -e; $(LAB) up --nodes 3 --pods 2; trap '$(LAB) down' EXIT; trap 'exit 130' INT TERM; $(LAB) prove
	@echo; echo 'The lab is gone again. "$(LAB) up" brings it back, and then the commands above work.'

# The tools that tests use, and namespaces, are there; or it says what is not.
ready:
	@e2e/ready

test: ready build kubeapi plugins image-root
	$(GO) vet ./...
	$(GOTEST) $(RACE) -timeout 20m ./...
	cd e2e/runtime && $(GO) vet ./...
	cd e2e/runtime && $(GOTEST) -timeout 5m ./...
	cd e2e/dist && $(GO) vet ./...
	cd e2e/dist && $(GOTEST) -timeout 10m ./...

check: ready
	@out=$$(gofmt -l backend cmd e2e internal network subnet); [ -z "$$out" ] || { echo "gofmt -w $$out"; exit 1; }
	$(GO) tool staticcheck ./...
	@tool=$$($(GO) tool -n staticcheck) && (cd e2e/runtime && "$$tool" ./...) && cd e2e/dist && "$$tool" ./...
	$(MAKE) test

test-kernel: ready
	$(GOTEST) $(RACE) ./network/... ./internal/netns/...

FUZZTIME ?= 10s
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

SOAKTIME ?= 10m
soak: ready build
	PERCALE_SOAK=$(SOAKTIME) $(GOTEST) -v -run '^TestSoak$$' -timeout 0 ./e2e/faults

bench: ready build kubeapi
	$(GOTEST) -run '^$$' -bench . -benchtime 1x -timeout 60m ./e2e ./e2e/kube ./subnet/kube/nodes/nodestest

clean:
	rm -rf bin
