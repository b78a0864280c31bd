# Ion's commands. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
BINARIES := -p ion-dataplane -p ion-controlplane

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build Ion and start it on this machine (ION_HTTP, ION_MEDIA, … override)
	@exec target/release/ion run --dev

.PHONY: build
build: setup webapp ## Build the web app and the release binaries
	$(CARGO) build --release --locked $(BINARIES)

.PHONY: webapp
webapp: setup webapp/dist/index.html

webapp/dist/index.html: $(shell find webapp web-sdk -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/test/*' 2>/dev/null) | setup
	npm --prefix web-sdk run --silent build
	npm --prefix webapp run --silent build

.PHONY: ebpf
ebpf: ## Build ebpf/ion.bpf.o anew, if a compiler for BPF is here
	@scripts/ebpf.sh build

.PHONY: ebpf-check
ebpf-check: ## Check that ebpf/ion.bpf.o is what its source compiles to
	@scripts/ebpf.sh check

.PHONY: setup
setup: ## Install what the build needs (Debian/Ubuntu packages, BoringSSL)
	@scripts/setup.sh build

.PHONY: setup-test
setup-test: ## Install what the tests need (browsers, clients)
	@scripts/setup.sh test

.PHONY: loadtest
loadtest: setup ## Build the load generator
	$(CARGO) build --release --locked -p ion-loadtest

.PHONY: media
media: ## Encode what the load generator publishes
	@scripts/media.sh

.PHONY: test
test: build loadtest setup-test media ## Run every test but the slow matrix
	@scripts/test.sh

.PHONY: transmit-cost
transmit-cost: setup
	$(CARGO) build --release --locked -p ion-io --example transmit_cost

.PHONY: test-kernels
test-kernels: build loadtest transmit-cost setup-test media ## Forward under Linux 6.1, 6.12 and the newest, in virtual machines
	@node tests/run.mjs --full --only kernel-

.PHONY: test-full
test-full: build loadtest transmit-cost setup-test media ## Run every test and the slow matrix of real clients
	@scripts/test.sh --full

.PHONY: test-loom
test-loom: ## Explore the interleavings of the shared-memory rings and locks
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(CARGO) test --locked -p ion-tables --release --test loom

.PHONY: miri
miri: ## Run the pure parts of ion-tables under Miri (needs a nightly toolchain with miri)
	$(CARGO) +nightly miri test -p ion-tables --lib

.PHONY: lint
lint: setup ## Check format, lints and tidiness
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	npm --prefix web-sdk run --silent lint
	npm --prefix webapp run --silent lint
	@scripts/npm.sh tests
	npm --prefix tests run --silent check
	@scripts/tidy.sh

.PHONY: deny
deny: ## Check licences, sources and duplicate versions of the dependencies
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check bans licenses sources

.PHONY: bench
bench: setup ## Measure the packet path: its stages, the floor, and the table of bars
	$(CARGO) build --release --locked -p ion-dataplane
	$(CARGO) build --release --locked -p ion-loadtest
	$(CARGO) build --release --locked -p ion-bench
	$(CARGO) bench -p ion-bench --locked
	target/release/ion-floor
	target/release/ion-bench table
	@if [ "$$(id -u)" = 0 ]; then $(CARGO) run --release --locked -p ion-ebpf --example ion-ebpf-bench; \
	else echo "bench: the XDP program is left out, since it needs root (a network namespace)"; fi

FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= stun rtp rtcp twcc ccfb sdp engine dependency vp8 vp9 red flexfec
.PHONY: fuzz
fuzz: setup ## Fuzz each target for FUZZ_SECONDS
	@scripts/fuzz.sh "$(FUZZ_SECONDS)" $(FUZZ_TARGETS)

.PHONY: wire
wire: ## Generate the SDK's wire types (web-sdk/src/wire) from api/src/signal
	ION_UPDATE_WIRE=1 $(CARGO) test --locked -p ion-api --lib wire_types

.PHONY: docs
docs: setup ## Build the API documentation
	$(CARGO) doc --workspace --no-deps --locked
	npm --prefix web-sdk run --silent docs

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
	rm -rf webapp/node_modules webapp/dist/assets webapp/dist/index.html web-sdk/node_modules web-sdk/dist web-sdk/docs tests/node_modules tests/.venv test-results
