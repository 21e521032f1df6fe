# `make` alone lists what there is. Nothing here needs more than a shell, make and Python 3.11.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Number of seeds in each long series of tests; the tests read it as LIQUIDATOR_SEEDS.
SEEDS ?= 20
export LIQUIDATOR_SEEDS ?= $(SEEDS)
# Examples of each property that plays a market in `make test`; `make check` takes five.
EXAMPLES ?= 30
# Arguments for `make demo` and `make bench`.
ARGS ?=
# Cases of `make cases`.
FILE ?= tests/cases/derivatives.json
# Port of `make kafka`.
PORT ?= 9092

.PHONY: help install demo cases format check lint test kafka services bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  ARGS="..."    arguments for demo and bench\n'
	@printf '  FILE=%-8s cases of make cases\n' '...'
	@printf '  PORT=%-8s port of make kafka\n' '$(PORT)'
	@printf '  SEEDS=%-7s seeds in each long series of tests (LIQUIDATOR_SEEDS)\n' '$(SEEDS)'

install: $(INSTALLED) ## Create .venv with the locked dependencies and the project itself

demo: install ## Watch a market crash be liquidated: make demo ARGS="--help"
	@$(BIN)/liquidator demo $(ARGS)

cases: install ## Put venues' worked cases of FILE to the engine (some to formulas no decision uses)
	@$(BIN)/python -m tests.cases $(FILE)

format: install ## Format the code and sort its imports
	$(BIN)/ruff check --quiet --fix-only --select I .
	$(BIN)/ruff format .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## Check format, style, types, import direction and run the fast tests
	$(BIN)/pytest -n auto --dist worksteal -m "not kafka and not services and not slow"

test: lint ## Run all checks and all tests, those on real servers included
	.ci/ensure-java
	.ci/ensure-services
	$(BIN)/python -m tests.broker --fetch
	LIQUIDATOR_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -n auto --dist worksteal \
	    -m "not kafka and not services" --durations=25 --durations-min=0.5
	$(BIN)/pytest -m "kafka or services" --durations=10 --durations-min=0.5

kafka: install ## Run a Kafka broker for yourself on 127.0.0.1:9092 until Ctrl-C
	@.ci/ensure-java
	@$(BIN)/python -m tests.broker --port $(PORT)

services: install ## Run Mosquitto, Prometheus and Alertmanager for yourself until Ctrl-C
	@.ci/ensure-services
	@$(BIN)/python -m tests.services

bench: install ## Measure throughput, detection and latency, each beside a baseline
	@.ci/ensure-java
	$(BIN)/python -m tests.bench $(ARGS)

# CUSTOM_COMPILE_COMMAND is what a lock's header tells its reader to run. What a container image takes
# is of the same versions: without the tools that test, and only those that build.
lock: export CUSTOM_COMPILE_COMMAND := make lock
lock: COMPILE := $(BIN)/pip-compile --quiet
lock: PART := $(COMPILE) --no-config --allow-unsafe --generate-hashes --strip-extras \
    --no-emit-find-links --no-emit-index-url --no-emit-trusted-host -c requirements.lock
lock: install ## Resolve the dependencies again into requirements*.lock
	$(COMPILE) --upgrade pyproject.toml
	$(PART) -o requirements-runtime.lock pyproject.toml
	$(PART) --only-build-deps --build-deps-for wheel -o requirements-build.lock pyproject.toml

clean: ## Remove everything that was generated, the broker and its data included
	rm -rf $(VENV) .kafka .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	    .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	.ci/ensure-venv $(VENV)

$(INSTALLED): pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
