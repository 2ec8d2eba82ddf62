# Ribcage: `make demo` and `make test` do all of their own set-up; the rest is for developers.
#
#   make demo [KEEP=1] [JSON=1]   packets across the router, processes killed; see README.md
#   make test [ARGS="-k fib"]     the test suite
#   make lint | bench | clean

PYTHON ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
C_FILES := $(wildcard csrc/*.c csrc/*.h csrc/ffi_build.py)

.PHONY: demo test lint bench clean build
.DEFAULT_GOAL := help

help:
	@sed -n '1,6p' Makefile | cut -c3-

# The stamp is newer than everything the installed package was built from.
$(VENV)/.built: pyproject.toml setup.py $(C_FILES)
	@sh lab/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

build: $(VENV)/.built

test: build
	$(BIN)/python -m pytest $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info ribcage.egg-info shared/_core.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
