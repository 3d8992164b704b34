# What people type. Needs make and Python 3.11 or newer, nothing else; every target is safe to run first, and again.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin

# The stamp's name holds a checksum of what decides the installation: it is made again when that changes, and only then.
INSTALL_KEY := $(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | cut -d ' ' -f 1)
STAMP := $(VENV)/.installed-$(INSTALL_KEY)

# `make serve ARGS="--port 9000"`, `make test ARGS="-k dice"`
ARGS ?=

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1  \2/'

.PHONY: venv
venv: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@set -eu; \
	python=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "undying needs Python 3.11 or newer; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1 || true)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$python can't make virtual environments: its venv or ensurepip module is missing." >&2; \
	  echo "On Debian and Ubuntu the package python3-venv has them." >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "making $(VENV) with $$("$$python" --version)" >&2; \
	  "$$python" -m venv --clear $(VENV); \
	fi; \
	echo "installing into $(VENV); the first time takes a minute or so" >&2; \
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[server,dev]' >&2; \
	rm -f $(VENV)/.installed-*; \
	touch $@

.PHONY: serve
serve: $(STAMP) ## Serve tables on this machine; ARGS="--port 9000" passes options on
	@$(BIN)/undying serve $(ARGS)

.PHONY: demo
demo: $(STAMP) ## Watch a table survive three kills
	@$(BIN)/undying demo $(ARGS)

.PHONY: test
test: $(STAMP) ## Run the tests; ARGS="-k dice" selects
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(STAMP) ## Format, lint, types and the import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

.PHONY: fmt
fmt: $(STAMP) ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove what can be made again; the data directory stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
