# Lockstone: build, test, show. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One target folder for all clones: RocksDB takes long to compile, and is compiled once. `.envrc` sets the same for plain cargo.
CACHE ?= $(HOME)/.cache/lockstone
export CARGO_TARGET_DIR ?= $(CACHE)/target
export LOCKSTONE_READER_PYTHON ?= $(CACHE)/venv/bin/python
export LOCKSTONE_TEST_TOOLS ?= $(CACHE)

PREFIX ?= /usr/local
# One profile for the program and its tests, and the whole workspace each time: the same features, so the same RocksDB.
CARGO_FLAGS := --release --workspace --locked
TEST_FLAGS := $(CARGO_FLAGS) --features failpoints
BINARY := $(CARGO_TARGET_DIR)/release/lockstone

.PHONY: help
help:
	@echo "make build     target/release/lockstone"
	@echo "make test      lints, then every test"
	@echo "make demo      a whole round trip on real files, in a scratch folder"
	@echo "make lint      dependencies, spelling, scripts, format, clippy, documentation"
	@echo "make bench     the micro-benches"
	@echo "make compare   beside restic, rustic, borg and others, which it installs (COMPARE='--tree DIR', '--data all', …)"
	@echo "make install   the program, completions and manual pages below PREFIX ($(PREFIX))"
	@echo "make deb       a Debian package: program, unit, manual pages, completions"
	@echo "make clean     remove target/release here (the shared target folder stays)"

# What a machine lacks: to build, to lint, to test. Each includes the one before.
.PHONY: setup setup-lint setup-tests
setup: ; @scripts/setup build
setup-lint: ; @scripts/setup lint
setup-tests: ; @scripts/setup tests

# The program has no fault points. (`make test` builds another one, which has.) The copy here has no symbols.
.PHONY: build
build: setup
	cargo build $(CARGO_FLAGS)
	@mkdir -p target/release
	@strip --strip-debug -o target/release/.lockstone.new $(BINARY) || cp -f $(BINARY) target/release/.lockstone.new
	@mv -f target/release/.lockstone.new target/release/lockstone
	@ls -l target/release/lockstone

.PHONY: lint
lint: setup-lint
	scripts/lint
	cargo fmt --all --check
	cargo clippy $(TEST_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(TEST_FLAGS) --no-deps --document-private-items

.PHONY: test
test: setup-tests lint
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run $(TEST_FLAGS) --no-fail-fast; \
	else \
	  cargo test $(TEST_FLAGS) --no-fail-fast; \
	fi

.PHONY: demo
demo: build
	target/release/lockstone demo

.PHONY: bench
bench: setup
	cargo bench --workspace --locked --bench bytes --bench trees --bench index --bench flow

# Needs some GiB in /dev/shm, and half an hour. See the program's own help for what else it can do.
COMPARE ?= --data linux,random
.PHONY: compare
compare: build
	python3 benches/compare/compare.py --install $(COMPARE)

.PHONY: install
install: build
	install -D -m 0755 target/release/lockstone $(DESTDIR)$(PREFIX)/bin/lockstone
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -d $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	target/release/lockstone man $(DESTDIR)$(PREFIX)/share/man/man1
	target/release/lockstone completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lockstone
	target/release/lockstone completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lockstone
	target/release/lockstone completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lockstone.fish

# A Debian package of the program that `make build` made, and a look at what it does to a system (needs root).
.PHONY: setup-deb
setup-deb: ; @scripts/setup deb
.PHONY: deb
deb: build setup-deb
	PATH=$(CACHE)/tools/bin:$$PATH scripts/deb target/release/lockstone target/release
	scripts/check-deb "$$(ls -t target/release/lockstone_*.deb | head -n 1)"

.PHONY: clean
clean:
	rm -rf target/release
