# Lockstone: build, test, show. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One target folder for all clones: RocksDB takes long to compile, and is compiled once.
CACHE ?= $(HOME)/.cache/lockstone
export CARGO_TARGET_DIR ?= $(CACHE)/target
export LOCKSTONE_READER_PYTHON ?= $(CACHE)/venv/bin/python
export LOCKSTONE_TEST_TOOLS ?= $(CACHE)

PREFIX ?= /usr/local
# One profile for the program and its tests, and the whole workspace each time: the same features, so the same RocksDB.
CARGO_FLAGS := --release --workspace --locked
TEST_FLAGS := $(CARGO_FLAGS) --features failpoints
# The object stores that the tests run; Ceph is the distribution's.
MOTO := 5.2.5
AZURITE := 3.35.0
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
BINARY := $(CARGO_TARGET_DIR)/release/lockstone

.PHONY: help
help:
	@echo "make build     target/release/lockstone"
	@echo "make test      format, lints, documentation, every test"
	@echo "make demo      a whole round trip on real files, in a scratch folder"
	@echo "make lint      format, lints, documentation"
	@echo "make bench     the micro-benches"
	@echo "make compare   beside restic, rustic, borg and others, which it installs (COMPARE='--tree DIR', '--data all', …)"
	@echo "make install   the program, completions and manual pages below PREFIX ($(PREFIX))"
	@echo "make clean     remove target/release here (the shared target folder stays)"

# What a fresh machine lacks. RocksDB is C++, and its bindings are made with clang's library.
.PHONY: setup
setup:
	@missing=""; \
	[ -n "$${LIBCLANG_PATH:-}" ] || compgen -G "/usr/lib/llvm-*/lib/clang/*/include/stddef.h" >/dev/null \
	  || compgen -G "/usr/lib*/clang/*/include/stddef.h" >/dev/null || missing="$$missing libclang-dev"; \
	command -v c++ >/dev/null || missing="$$missing g++"; \
	if [ -n "$$missing" ]; then \
	  echo "setup: installing$$missing"; \
	  command -v apt-get >/dev/null || { echo "setup: please install$$missing"; exit 1; }; \
	  $(SUDO) apt-get update -q; \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $$missing; \
	fi
	@command -v cargo >/dev/null || { echo "setup: please install Rust (https://rustup.rs)"; exit 1; }

# What the tests like to have (the program of Prometheus, not its service). Where it cannot be had, the tests that need it say that they are skipped.
.PHONY: setup-tests
setup-tests: setup
	@missing=""; \
	command -v mkfs.btrfs >/dev/null || missing="$$missing btrfs-progs"; \
	command -v getfattr >/dev/null || missing="$$missing attr"; \
	command -v setfacl >/dev/null || missing="$$missing acl"; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	for part in ceph-mon ceph-mgr ceph-osd radosgw; do \
	  command -v $$part >/dev/null || missing="$$missing $$part"; \
	done; \
	command -v ceph >/dev/null || missing="$$missing ceph-common"; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  echo "setup: installing$$missing"; \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $$missing; } \
	    || echo "setup: could not install$$missing: some tests will be skipped"; \
	  case "$$missing" in *prometheus*) \
	    if [ -d /run/systemd/system ]; then $(SUDO) systemctl disable -q --now prometheus 2>/dev/null || true; fi ;; \
	  esac; \
	fi
	@cargo nextest --version >/dev/null 2>&1 \
	  || CARGO_TARGET_DIR=$(CACHE)/nextest cargo install --locked cargo-nextest \
	  || echo "setup: no cargo-nextest; cargo test does it, too"
	@if [ -f tests/reader/requirements.txt ] && command -v python3 >/dev/null; then \
	  stamp=$(CACHE)/venv/.requirements; \
	  cmp -s tests/reader/requirements.txt $$stamp 2>/dev/null || { \
	    python3 -m venv $(CACHE)/venv \
	      && $(CACHE)/venv/bin/pip install -q -r tests/reader/requirements.txt \
	      && cp tests/reader/requirements.txt $$stamp; \
	  } || echo "setup: no Python packages for the second reader: its test will be skipped"; \
	fi
	@[ -x $(CACHE)/venv/bin/moto_server ] \
	  || { [ -x $(CACHE)/venv/bin/pip ] || python3 -m venv $(CACHE)/venv; } \
	  && { [ -x $(CACHE)/venv/bin/moto_server ] || $(CACHE)/venv/bin/pip install -q 'moto[server]==$(MOTO)'; } \
	  || echo "setup: no moto: the tests of S3 will be skipped"
	@[ -x $(CACHE)/azurite/node_modules/.bin/azurite-blob ] \
	  || npm install --silent --no-audit --no-fund --prefix $(CACHE)/azurite azurite@$(AZURITE) \
	  || echo "setup: no Azurite: the tests of Azure Blob will be skipped"

# The program has no fault points. (`make test` builds another one, which has.) Its debug symbols, most of them RocksDB's,
# stay in the shared target folder.
.PHONY: build
build: setup
	cargo build $(CARGO_FLAGS)
	@mkdir -p target/release
	@strip --strip-debug -o target/release/.lockstone.new $(BINARY) || cp -f $(BINARY) target/release/.lockstone.new
	@mv -f target/release/.lockstone.new target/release/lockstone
	@ls -l target/release/lockstone

.PHONY: lint
lint: setup
	cargo fmt --all --check
	cargo clippy $(TEST_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(TEST_FLAGS) --no-deps --document-private-items
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "lint: no cargo-deny here, so not asked"; fi

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

.PHONY: clean
clean:
	rm -rf target/release
