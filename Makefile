# SPDX-License-Identifier: GPL-2.0-or-later
# The entrances to nvlab's source tree: `make` lists them. Nothing here calls sudo.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BUILD := .build
BIN := .venv/bin
NVLAB := $(BIN)/nvlab
PYTEST := $(BIN)/python -m pytest
COMMIT = $(shell git describe --always --dirty)

VENV := .venv/nvlab.stamp
CORE := nvlab/sim/_core.abi3.so
CORE_SOURCES := nvlab/sim/_build.py $(wildcard nvlab/sim/*.[ch] kmod/core/*.[ch])
KMOD_SOURCES := $(wildcard kmod/Kbuild kmod/*.[ch] kmod/core/*.[ch])
RELEASES := $(patsubst /lib/modules/%/build,%,$(wildcard /lib/modules/*/build))
MODULES := $(RELEASES:%=$(BUILD)/%/nvlab.ko)
CHECKPATCH := $(BUILD)/checkpatch/checkpatch.pl
# A module out of tree must ask for the version of the kernel; a table makes a structure, field by field, of macros.
CHECKPATCH_IGNORE := LINUX_VERSION_CODE,CONSTANT_COMPARISON,TRAILING_SEMICOLON,COMPLEX_MACRO,MACRO_ARG_REUSE,PREFER_DEFINED_ATTRIBUTE_MACRO
SANITIZER := $(BUILD)/sanitize/linux/arch/x86/boot/bzImage
# Those of the tests without a kernel that draw examples: in soak new ones, and some of them many more
DRAWING = $(shell grep -lE 'NVLAB_SOAK|^from hypothesis' tests/unit/test_*.py)
C_SOURCES = $(shell git ls-files '*.c' '*.h')

help: ## list these
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do printf '  make %-8s %s\n' "$$name" "$$what"; done

demo: setup ## the hybrid NVMe drive, from nothing to a report
	@$(NVLAB) up scenarios/hybrid-nvme.toml
	@report=$$(mktemp); \
	finish() { status=$$?; $(NVLAB) down hybrid-nvme || status=$$?; cat "$$report"; rm -f "$$report"; exit $$status; }; \
	trap finish EXIT; \
	$(NVLAB) run hybrid-nvme; \
	$(NVLAB) report hybrid-nvme > "$$report"

test: setup ## everything that can be tested here, real kernels in a VM included (some 60 min)
	@setup/packages.sh setup/packages-core.txt
	@$(MAKE) quick
	@echo "== notebooks; the core under sanitizers, its branches and instructions"
	@$(PYTEST) -q -n 2 -m slow
	@echo "== tests in guests; a guest waits about as long as it works, so there is one more than there are cores"
	@$(PYTEST) tests/vm -m "vm and not sanitize" -n $$(($$(nproc) + 1)) --tb=short --durations=20

quick: venv ## what needs neither root nor a VM (some 2 min)
	@echo "== style, types, tests without a kernel"
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(PYTEST) -q -n $$(($$(nproc) + 1)) --dist worksteal -m "not slow"

lint: venv $(CHECKPATCH) ## style and static checks, of Python and C
	@echo "== ruff, mypy, checkpatch"
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@perl $(CHECKPATCH) --no-tree --strict --quiet --ignore $(CHECKPATCH_IGNORE) --file $(C_SOURCES)
	@$(MAKE) sparse

sanitize: setup $(SANITIZER) ## nvlab.ko under KASAN, lockdep, kmemleak and UBSAN, fuzzed and starved of memory (up to 25 min)
	@$(PYTEST) tests/vm/test_sanitize.py -m sanitize --tb=short --durations=0

bench: setup ## speed of this commit, kept in results/
	@mkdir -p results
	@for program in bench/core_speed.py bench/ssd_speed.py bench/analysis.py bench/lab.py bench/device.py "bench/device.py trace" \
		"bench/device.py layers" "bench/device.py timing" "bench/device.py idle"; do \
		echo "== $$program at $(COMMIT), $$(date -u +%FT%TZ)"; $(BIN)/python $$program; \
	done 2>&1 | tee results/bench-$(COMMIT).txt

soak: setup $(SANITIZER) ## the tests with their long counts (hours), kept in results/; ONLY="-k killing" for some of them
	@setup/packages.sh setup/packages-core.txt
	@mkdir -p results
	@{ \
		echo "== soak at $(COMMIT), $$(date -u +%FT%TZ) $(ONLY)"; \
		export NVLAB_SOAK=1; \
		$(PYTEST) $(DRAWING) tests/core -v --durations=10 $(ONLY) || [ $$? = 5 ]; \
		$(PYTEST) tests/vm -m vm -n 2 -v --tb=short --durations=10 $(ONLY); \
	} 2>&1 | sed -u 's|$(CURDIR)|.|g' | tee -a results/soak-$(COMMIT).txt

man: $(BUILD)/nvlab.1 ## the manual page nvlab(1), out of docs/nvlab.md
	@echo "man $<"

setup: ## all that the others need: packages, environment, kernel modules
	@$(MAKE) system
	@$(MAKE) venv modules

system: ## the part of setup that may need root: Debian packages, RapidDisk
	@setup/packages.sh setup/packages.txt
	@setup/rapiddisk.sh

clean: ## remove what can be built again, but for .venv; runs/ stays
	rm -rf $(BUILD) build dist *.egg-info nvlab/sim/_core*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

venv: $(VENV) $(CORE)
	@:

modules: $(MODULES)
	@:

$(VENV): pyproject.toml setup.py
	@echo "== nvlab and what it needs of Python, into .venv"
	@$(PYTHON) -c 'import sys; sys.exit("nvlab needs Python 3.11: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@# compat: a plain path, not an import hook that every start of Python would pay for
	@$(BIN)/pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable '.[dev]'
	@touch $@

$(CORE): $(CORE_SOURCES) | $(VENV)
	@echo "== the simulator's core"
	@$(BIN)/python setup.py --quiet build_ext --inplace --build-temp $(BUILD)/core
	@touch $@

$(BUILD)/%/nvlab.ko: $(KMOD_SOURCES) | $(VENV)
	@echo "== nvlab.ko for Linux $*"
	@$(NVLAB) kmod build --kernel $* --into $(@D)

$(SANITIZER): setup/sanitize.sh setup/sanitize.config
	@setup/packages.sh setup/packages-sanitize.txt
	@setup/sanitize.sh $(BUILD)/sanitize/linux

$(BUILD)/nvlab.1: docs/nvlab.md
	@setup/packages.sh setup/packages-man.txt
	@mkdir -p $(@D)
	@pandoc -s -f gfm -t man --shift-heading-level-by=-1 -M title=NVLAB -M section=1 $< -o $@

$(CHECKPATCH):
	@setup/packages.sh setup/packages-lint.txt
	@echo "== checkpatch, out of the kernel's source"
	@mkdir -p $(@D)
	@tar -xJf /usr/src/linux-source-6.1.tar.xz -C $(@D) --strip-components=2 --wildcards \
		'*/scripts/checkpatch.pl' '*/scripts/const_structs.checkpatch' '*/scripts/spelling.txt'
	@touch $@

sparse:
	@if command -v sparse >/dev/null; then \
		for release in $(RELEASES); do \
			echo "== sparse, Linux $$release"; \
			rm -rf $(BUILD)/sparse; cp -r kmod $(BUILD)/sparse; \
			$(MAKE) -s -C /lib/modules/$$release/build M="$(CURDIR)/$(BUILD)/sparse" C=2 CF=-Wsparse-error modules; \
		done; \
	fi

.PHONY: help demo test quick lint sanitize bench soak man setup system clean venv modules sparse
