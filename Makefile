# make run    builds the pages and the release binary, then monitors this machine at http://127.0.0.1:9090
# make test   runs everything: format, lints, unit, property, conformance, end to end, browser
# make soak   runs the simulation of the storage with fresh seeds for SOAK seconds (600), then the property tests with fresh cases
# make bench  measures against Debian's prometheus and victoria-metrics
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
NPM ?= npm
ARGS ?=
TARGET_DIR := $(shell $(CARGO) metadata --no-deps --format-version 1 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
BINARY := $(TARGET_DIR)/release/cupola

.PHONY: help run build ui tools test soak bench clean

help:
	@sed -n '1,4s/^# //p' Makefile

# One clear line for each build tool that is missing.
tools:
	@missing=0; \
	command -v $(CARGO) >/dev/null || { echo "missing: cargo. Install Rust 1.95 or newer (Debian: apt install rustup, then rustup default stable)"; missing=1; }; \
	command -v cc >/dev/null || { echo "missing: cc. Install a C compiler (Debian: apt install build-essential)"; missing=1; }; \
	{ command -v node >/dev/null && node -e "process.exit(+(parseInt(process.versions.node) < 20))"; } || { echo "missing: node 20 or newer (Debian: apt install nodejs)"; missing=1; }; \
	command -v $(NPM) >/dev/null || { echo "missing: npm. Install npm 10 or newer (Debian: apt install npm)"; missing=1; }; \
	exit $$missing

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json | tools
	cd ui && $(NPM) ci --no-audit --no-fund
	@touch $@

UI_SOURCES := $(shell find ui/src ui/public ui/scripts ui/dashboards -type f 2>/dev/null) ui/index.html ui/vite.config.ts ui/tsconfig.json

crates/web/dist/index.html: ui/node_modules/.package-lock.json $(UI_SOURCES)
	cd ui && $(NPM) run build
	@touch $@

ui: crates/web/dist/index.html

build: tools ui
	$(CARGO) build --release --locked -p cupola

run: build
	exec $(BINARY) up $(ARGS)

test: tools ui
	$(CARGO) run --locked -q -p xtask -- test

soak: tools
	CUPOLA_SIM_SECONDS=$(or $(SOAK),600) $(CARGO) test --release --locked -p cupola-tsdb --test simulation -- --nocapture
	PROPTEST_CASES=$(or $(CASES),5000) $(CARGO) test --workspace --exclude cupola-tests --tests --locked --quiet --no-fail-fast

bench: build
	$(CARGO) run --release --locked -q -p xtask -- bench $(ARGS)

clean:
	$(CARGO) clean
	rm -rf ui/node_modules crates/web/dist data
