# Ribcage: `make demo` and `make test` do all of their own set-up; the rest is for developers.
#
#   make demo               packets cross a router, its processes are killed (KEEP=1 leaves the
#                           lab up, STOP=1 takes it down, JSON=1 prints one JSON document)
#   make test ARGS="-k fib" the test suite on all cores, or a part of it (-n0: in one process)
#   make torture            the crash and torture tests for minutes: thousands of kills
#   make chaos MINUTES=10   random faults of every kind under traffic, judged (SEED=1, OUT=folder,
#                           ONLY=worker-,control-kill)
#   make soak HOURS=8       the same, milder, for hours; memory and descriptors are watched
#   make fuzz FOR=60        libFuzzer on frames, rows and FIB segments, so many seconds each
#   make lint               ruff, mypy --strict over the packages as installed
#   make bench              one TCP flow: the router beside the kernel's own forwarding
#   make clean              remove what the others made

# Debian's own Python first: a plain user cannot run one that lies in root's home.
PYTHON ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
C_FILES := $(shell find csrc -name '*.[ch]') csrc/ffi_build.py
DEMO := $(if $(KEEP),--keep) $(if $(STOP),--stop) $(if $(JSON),--json)

.PHONY: help demo test torture chaos soak fuzz lint bench clean build
.DEFAULT_GOAL := help

help:
	@sed -n '3,14p' Makefile | cut -c3-

# The stamp is newer than everything the installed package was built from.
$(VENV)/.built: pyproject.toml setup.py lab/setup.sh lab/constraints.txt $(C_FILES)
	@sh lab/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

build: $(VENV)/.built

demo: build
	@$(BIN)/python -IP -m ribcage.lab.demo $(DEMO)

test: build
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

torture: build
	RIBCAGE_TORTURE=$(or $(FACTOR),10) $(BIN)/python -m pytest tests/model tests/csrc/sync/test_threads.py tests/crash $(ARGS)

CHAOS = $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT)) $(if $(ONLY),--only $(ONLY))
chaos: build
	$(BIN)/ribcage $(if $(JSON),-j) lab chaos --minutes $(or $(MINUTES),2) $(CHAOS)

soak: build
	$(BIN)/ribcage $(if $(JSON),-j) lab soak --hours $(or $(HOURS),1) $(CHAOS)

FOR ?= 60
fuzz: build
	RIBCAGE_FUZZ_SECONDS=$(FOR) $(BIN)/python -m pytest tests/csrc/test_fuzz.py -k finds_nothing $(ARGS)

bench: build
	$(BIN)/python -IP -m ribcage.lab.bench.tcp $(ARGS)

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p ribcage

clean:
	rm -rf $(VENV) build dist *.egg-info shared/_core.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
