# What each target does: make help. Everything runs without network but for the
# first download of the Go modules.
SHELL    := /bin/sh
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X weightwarden/internal/buildinfo.version=$(VERSION)
# Static binaries; -buildvcs=false since the version is given above and git may refuse to answer.
BUILD    := CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -ldflags "$(LDFLAGS)"
PROGRAMS := $(patsubst %/main.go,./%,$(wildcard cmd/*/main.go))
FUZZTIME ?= 60s
LOAD     ?= --for 30s
# Pinned; later versions need modules that not every proxy has.
NFPM     ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
ARCH     ?= $(shell $(GO) env GOARCH)
# Packages count versions: without a tag, all are below the first release.
PKGVERSION ?= $(shell echo "$(VERSION)" | sed -E 's/^v([0-9])/\1/; s/^([^0-9]|[0-9a-f]*[a-f-])/0.0.0~\1/; s/[^A-Za-z0-9.~+]/./g')

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into bin/: static, no C compiler needed
	@mkdir -p bin
	$(BUILD) -o bin/ $(PROGRAMS)

.PHONY: test
test: ## run all tests, with the race detector where a C compiler can be had
	@race=$$(.ci/race); CGO_ENABLED=$$(test -n "$$race" && echo 1 || echo 0) $(GO) test -timeout 30m $$race ./...

.PHONY: manuals
manuals: build ## write manual pages and shell completions to dist/
	@mkdir -p dist/man dist/completions
	@for p in $(notdir $(PROGRAMS)); do \
		bin/$$p man > dist/man/$$p.1 && bin/$$p completion bash > dist/completions/$$p.bash && \
		bin/$$p completion zsh > dist/completions/_$$p && bin/$$p completion fish > dist/completions/$$p.fish || exit 1; \
	done

.PHONY: package
package: manuals ## make .deb and .rpm packages in dist/: the agent, and the other programs
	@gzip -9nkf dist/man/*.1
	@rm -f dist/*.deb dist/*.rpm
	@for p in agent programs; do for kind in deb rpm; do \
		VERSION='$(PKGVERSION)' ARCH='$(ARCH)' $(NFPM) package -f deploy/$$p/nfpm.yaml -p $$kind -t dist/ || exit 1; \
	done; done

.PHONY: nfpm
nfpm: ## the tool that makes packages, as a Go module
	$(NFPM) --version

.PHONY: package-test
package-test: ## install, check, upgrade and remove the agent's packages below a scratch folder (Debian, root)
	deploy/agent/test-install.sh dist/weightwarden-agent_*_$(ARCH).deb
	deploy/agent/test-rpm.sh dist/weightwarden-agent-*.rpm

.PHONY: demo
demo: build ## the main job on this machine: steal a model in many ways, see each copy caught
	@$(GO) build -buildvcs=false -o bin/demo ./demo
	@bin/demo

.PHONY: demo-data
demo-data: build ## the console over a made-up fortnight on this machine, until Ctrl-C
	@d=.demo/console; mkdir -p .demo; test -e $$d/server.db || bin/fpserver demo-data --data $$d >/dev/null; \
	bin/fpserver demo-data --data $$d --keep-alive >/dev/null & a=$$!; trap "kill $$a 2>/dev/null" EXIT INT TERM; \
	echo "sign in with the token in $$d/admin-token:"; cat $$d/admin-token; bin/fpserver serve --data $$d

.PHONY: e2e
e2e: build ## the console in headless Chromium: the main story, accessibility, screenshots (installs what it needs where it may)
	@e2e/run.sh

.PHONY: vet
vet: ## go vet and gofmt, as CI runs them
	$(GO) vet ./...
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "gofmt: $$bad"; exit 1; }

.PHONY: cross
cross: ## compile all programs for every supported system; go vet of everything there, tests too
	@for t in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build for $$t"; \
		GOOS=$${t%/*} GOARCH=$${t#*/} $(BUILD) -o /dev/null $(PROGRAMS) || exit 1; \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./... || exit 1; \
	done

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s)
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

.PHONY: matrix
matrix: ## make every file of the evasion matrix by the real tools and judge it (needs Python 3; writes docs/evasion-matrix.md)
	testdata/gen/run.sh tools
	.venv/bin/python testdata/gen/transform.py .matrix
	$(GO) run ./tools/matrix -cells .matrix

.PHONY: nulls
nulls: ## measure what independent models reach against the bound (writes docs/nulls.md)
	$(GO) run ./tools/nulls

.PHONY: bench
bench: ## measure speed beside b3sum (from its crate where cargo is there, else PATH) and sha256sum (writes docs/performance.md)
	@test -x .bench/bin/b3sum || ! command -v cargo >/dev/null || cargo install --quiet b3sum --root .bench
	$(GO) run ./tools/bench $$(test -x .bench/bin/b3sum && echo -b3sum .bench/bin/b3sum)

.PHONY: loadtest
loadtest: build ## put a fleet's load on a server on this machine (LOAD: flags of fpserver loadtest)
	@d=$$(mktemp -d); bin/fpserver serve --data $$d/data --listen 127.0.0.1:0 >$$d/out 2>$$d/err & pid=$$!; \
	trap "kill $$pid; rm -rf $$d" EXIT; url=; \
	for i in $$(seq 100); do url=$$(sed -n 's/^listening on //p' $$d/out); test -n "$$url" && break; sleep 0.1; done; \
	test -n "$$url" || { cat $$d/err; exit 1; }; \
	bin/fpserver loadtest --data $$d/data $(LOAD) $$url

.PHONY: testdata
testdata: ## make the test data again by the real tools (Python 3; keeps trained weights)
	testdata/gen/run.sh

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf bin dist .demo

.PHONY: oracle
oracle: ## compare the decoders with safetensors, gguf, onnx, numpy, h5py, zarr and tensorstore on random files; parse the Sigma rules
	@test -x .venv/bin/python || python3 -m venv .venv
	@.venv/bin/python -m pip install -q -r testdata/gen/requirements.txt
	@mkdir -p bin && $(GO) build -buildvcs=false -o bin/oracle ./testdata/gen/oracle
	@.venv/bin/python testdata/gen/oracle.py bin/oracle
	@.venv/bin/python testdata/gen/sigma_rules.py deploy/sigma/*.yml
