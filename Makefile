# `make run` and `make test` need make and Python ≥ 3.11, nothing else: the rest goes into .venv.
# Settings in the environment (INBOXD_PORT=9000 make run) and ARGS="--workers 4" reach the service.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
ARGS ?=
JOBS ?= 3

.PHONY: help run test test-compiled compiled tools check format bench chaos screenshots clean

help:
	@echo 'make run     start the service (ARGS="--port 9000" for flags of inboxd serve)'
	@echo 'make test    all tests (ARGS="-k cursor" for some of them)'
	@echo 'make compiled  the service with its hot path compiled, in build/compiled; takes a C compiler and three minutes'
	@echo 'make test-compiled  the tests that start services, on that one'
	@echo 'make check   ruff and mypy'
	@echo 'make format  let ruff format and repair what it can'
	@echo 'make bench   measure, also beside other systems; takes an hour (ARGS=--quick: minutes, rough, writes nothing)'
	@echo 'make chaos   break everything, lose nothing; takes a quarter of an hour (ARGS="--list", ARGS=worker-killed)'
	@echo 'make screenshots  make docs/img anew'
	@echo 'make clean   remove .venv and caches; ./data stays'

run: .venv/installed $(if $(COMPILED),compiled)
	@exec $(if $(COMPILED),env $(COMPILED_FIRST)) .venv/bin/inboxd serve $(ARGS)

# Tests wait more than they compute: three of them at a time on two cores. JOBS=0 runs one after the other.
test: .venv/installed-dev tools
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# The same source; what every message passes becomes an extension module (docs/decisions/0031-the-hot-path-compiled.md).
# Built from a copy, so that no module in the tree is hidden by a compiled one.
compiled: build/compiled/made

# Without the safe path the folder something is started in would come first.
COMPILED_FIRST = PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/compiled:$(CURDIR)

build/compiled/made: pyproject.toml $(shell find service -type f -not -name '*.pyc') | .venv/installed-dev
	@rm -rf build/sdist build/compiled
	@.venv/bin/hatchling build --target sdist --directory build/sdist
	@export HATCH_BUILD_HOOK_ENABLE_MYPYC=1; echo 'inboxd: compiling into build/compiled'; \
	if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python .venv/bin/python --no-deps --target build/compiled build/sdist/inboxd-*.tar.gz; \
	else \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/compiled build/sdist/inboxd-*.tar.gz; \
	fi
	@touch $@

# Services run compiled; what tests call in their own process is compiled for the core, where they bring no stand-ins.
test-compiled: compiled tools
	$(COMPILED_FIRST) .venv/bin/python -m pytest -o pythonpath=clients/python -n $(JOBS) --dist loadfile tests/core $(ARGS)
	COMPILED=build/compiled .venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(SERVED) $(ARGS)

SERVED = tests/clients tests/edge tests/faults tests/hostile tests/model tests/ops tests/scripts/lab

# Chromium and Node, for the tests of what runs in browsers: installed where that may be, else named.
tools: .venv/installed-dev
	@.venv/bin/python -m scripts.tools

check: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/installed-dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Our own figures, then other systems under the same load; without ARGS that goes into docs/benchmarks.md.
bench: export COMPILED = build/compiled
bench: .venv/installed-dev compiled
	.venv/bin/python -m scripts.bench $(or $(ARGS),--runs 3 --report docs/benchmarks.md)
	.venv/bin/python -m scripts.bench.peers $(or $(ARGS),--runs 3 --report docs/benchmarks.md)

# All scenarios write the report; some of them, or other flags, only print.
chaos: .venv/installed-dev
	.venv/bin/python -m scripts.chaos $(or $(ARGS),--report docs/chaos-report.md)

screenshots: .venv/installed-dev tools
	.venv/bin/python -m tests.browser.screenshots

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find service tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# uv where it is installed, else venv and pip.
install = @echo 'inboxd: installing into .venv'; \
	if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python .venv/bin/python $(1); \
	else .venv/bin/python -m pip install --quiet --disable-pip-version-check $(1); fi

# The stamps are older than pyproject.toml when something else has to be installed.
.venv/installed: pyproject.toml | .venv/bin/python
	$(call install,--editable .)
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(call install,--editable '.[dev]')
	@touch .venv/installed $@

# --clear: what an interrupted try left behind is no reason to fail.
.venv/bin/python:
	@set -eu; \
	if command -v uv >/dev/null 2>&1; then exec uv venv --quiet --seed --clear --python '>=3.11' .venv; fi; \
	for python in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11 none; do \
	  if [ "$$python" = none ]; then \
	    echo 'inboxd: no Python 3.11 or newer on the PATH. Install one, or name it: make run PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	  fi; \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "inboxd: $$python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
	  echo "inboxd: elsewhere install Python's venv and ensurepip, or uv" >&2; \
	  exit 1; \
	fi; \
	"$$python" -m venv --clear .venv
