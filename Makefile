# make demo   sets everything up and runs TPC-H on a grid of nine local workers, three of which lie or stall
# make test   all tests
# make check  formatting, lints, docs, dependency policy
# make bench  ratios against native DuckDB and plain QUIC, and two minutes of neighbours (PARTS=engine for one part, PARTS=strangers for the last)
# make neighbours plays all strangers against honest jobs for ten minutes, and says what these saw of it
# make fuzz-smoke runs each fuzz target for ten seconds, make fuzz for half an hour
# make determinism runs the same jobs on images for other processors, and compares every outcome
# make mutants removes one guard after the other and asks whether a test notices
# make vm     boots Debian's kernel in an emulated machine, for tests of control groups and of a TPM's driver
# make guest-image builds the image of a confidential guest and writes its measurement into policies/attest/sensitive.toml; make
#   guest-image-check boots it, has it run a job, shows what it refuses, and (TWICE=1) builds it again elsewhere and compares
# make engine builds the DuckDB engine from source and compares it with the committed one

SHELL := /bin/bash
CARGO := cargo
OUT := $(CURDIR)/target
# Compiled engines are named by content, so a cache outside the checkout (EIDER_CACHE) can only save time.
export EIDER_CACHE ?= $(OUT)/eider-cache
export RUST_BACKTRACE ?= 0
PYDEPS := $(OUT)/pydeps

.PHONY: all build demo test check bench neighbours fuzz fuzz-smoke determinism mutants vm guest-image guest-image-check engine clean

all: build

build: toolchain
	@[ -x $(OUT)/release/eider ] || echo "building eider: about 5 minutes on two cores the first time, seconds after that"
	@$(CARGO) build --release --locked --quiet

demo: build
	@$(OUT)/release/eider-demo

test: build $(PYDEPS)/.done
	@echo "tests: about 12 minutes on two cores, and two more the first time, when the engine is compiled for this machine"
	@$(OUT)/release/eider engine compile >/dev/null
	@$(OUT)/release/eider engine compile --metered >/dev/null
	$(CARGO) test --release --locked --workspace --all-targets

check: toolchain
	$(CARGO) fmt --check
	@python3 host/protocol/rules.py
	$(CARGO) clippy --release --locked --workspace --all-targets --features eider-cli/guest --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check bans licenses sources; \
	 else echo "check: cargo-deny is not installed, deny.toml was NOT checked (cargo install cargo-deny)"; fi

bench: build $(PYDEPS)/.done
	@$(OUT)/release/eider engine compile >/dev/null
	@$(OUT)/release/eider engine compile --metered >/dev/null
	@$(if $(or $(filter-out strangers,$(PARTS)),$(if $(PARTS),,all)),$(OUT)/release/eider-bench $(filter-out strangers,$(PARTS)))
	@$(if $(or $(filter strangers,$(PARTS)),$(if $(PARTS),,all)),$(MAKE) --no-print-directory neighbours SECONDS_IN_ALL=120)

neighbours: build
	@$(OUT)/release/eider engine compile >/dev/null
	@EIDER_NEIGHBOURS_SECONDS=$(or $(SECONDS_IN_ALL),600) $(CARGO) test --release --locked --quiet -p eider-tests --test strangers -- \
	  --exact honest_jobs_go_on_beside_all_strangers --nocapture --ignored

# The native DuckDB that answers are compared with: the official wheel of the engine's version.
$(PYDEPS)/.done: tests/requirements.txt
	@mkdir -p $(PYDEPS)
	@python3 -m pip --version >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y python3-pip; } >/dev/null 2>&1 || true
	@echo "fetching native DuckDB and a reader of envelopes to compare with (30 MB)"
	@if python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
	    --target $(PYDEPS) --upgrade -r tests/requirements.txt 2>/dev/null; then touch $@; \
	 else echo "WARNING: no native DuckDB (pip for python3 is needed): comparisons with it will be SKIPPED"; \
	   [ -z "$$CI" ]; fi

# libFuzzer's instrumentation on the stable compiler; needs a C++ compiler for its runtime.
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions --cfg fuzzing
FUZZ_SECONDS ?= 10
# A target is a file in tests/fuzz/src/bin; its seeds and its regression cases are in tests/fuzz/corpus.
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard tests/fuzz/src/bin/*.rs)))
fuzz-smoke: toolchain
	@echo "fuzzing: some minutes to build the first time, then $(FUZZ_SECONDS) s for each of: $(FUZZ_TARGETS)"
	@cd tests/fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" CARGO_TARGET_DIR=$(OUT)/fuzz $(CARGO) build --release --locked --quiet \
	  --target $$(rustc -vV | sed -n 's/^host: //p')
	@python3 tests/fuzz/seeds.py attest/core/tests/vectors $(OUT)/fuzz/corpus $(EIDER_ATTEST_VECTORS)
	@for t in $(OUT)/fuzz/*/release; do for k in $(FUZZ_TARGETS); do \
	  mkdir -p $(OUT)/fuzz/corpus/$$k; cp -n tests/fuzz/corpus/$$k/* $(OUT)/fuzz/corpus/$$k/ 2>/dev/null; \
	  $$t/$$k -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=3000 -artifact_prefix=$(OUT)/fuzz/$$k- -verbosity=0 \
	    -print_final_stats=1 $(OUT)/fuzz/corpus/$$k 2>&1 | \
	    sed -n "s/^stat::number_of_executed_units: */fuzz $$k: runs /p; /ERROR\|panicked\|Test unit/p"; [ $${PIPESTATUS[0]} = 0 ] || exit 1; done; done

fuzz:
	@$(MAKE) --no-print-directory fuzz-smoke FUZZ_SECONDS=1800

# WORDS=aarch64 for some of them. Cells of emulated processors need Debian's packages (250 MB) and a compiler with one architecture more than workers have.
determinism: build
	@echo "comparing processors: about 40 minutes on two cores the first time, 15 after that, most of it in an emulator"
	@$(CARGO) build --release --locked --quiet -p eider-tests -p eider-bare-cell --features eider-bare-cell/arm64 \
	  --bin eider-determinism --bin eider-bare-cell
	@python3 tests/determinism/emulated.py $(OUT)/emulated $(OUT)/release/eider-bare-cell
	@EIDER_EMULATED=$(OUT)/emulated $(OUT)/release/eider-determinism $(WORDS)

# WORDS=attest for some of them, WORDS=slow for those too that need the end-to-end suites.
mutants: toolchain
	@python3 tests/mutants/run.py $(OUT)/mutants $(WORDS)

vm: build
	@$(OUT)/release/eider-vm

guest-image: toolchain
	@echo "building the guest image: about 20 minutes on two cores and 250 MB of Debian's packages and sources the first time"
	@python3 guest/image/build.py $(OUT)/guest-image --policy policies/attest/sensitive.toml

guest-image-check: build
	@[ -f $(OUT)/guest-image/measurements.json ] || python3 guest/image/build.py $(OUT)/guest-image
	@echo "starting the guest image in an emulated machine: some minutes$(if $(TWICE),; then about 20 to build it again)"
	@python3 guest/image/check.py $(OUT)/guest-image $(OUT)/release/eider $(if $(TWICE),--twice)

engine: toolchain
	@echo "building the engine from source: about 20 minutes on two cores"
	@cd guest/duckdb/build && CARGO_TARGET_DIR=$(OUT)/engine-build $(CARGO) build --release --locked --quiet
	@python3 guest/duckdb/build.py $(OUT)/engine.wasm.zst $(OUT)/engine-build/release/engine-build guest/duckdb/engine.lock

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust 1.95 or later with rustup, then try again"; exit 1; }
.PHONY: toolchain

clean:
	$(CARGO) clean
