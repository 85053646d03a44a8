# Two commands: `make demo` and `make test`. Each does all set-up. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin
DATA ?= data

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

demo: .venv/serve ## start Mailroom, drop the sample documents in, show what became of them (ONCE=1: then stop)
	@$(BIN)/python -m workers.demo --data $(DATA)/demo $(if $(ONCE),--once)

up: .venv/serve ## start Mailroom on an empty data folder and keep serving
	@$(BIN)/mailroom --data $(DATA) up

test: test-serve test-train ## install what the tests need, run all of them

test-serve: .venv/test system-packages ## the same without the trainings (ARGS="-k ..." to choose)
	$(BIN)/python -m pytest $(ARGS)

test-train: .venv/test .venv-train/ready ## the trainings alone
	.venv-train/bin/python -m pytest tests/training

coverage: .venv/test system-packages ## test-serve with every process measured; fails under the floor of pyproject.toml
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report

trainer: .venv-train/ready ## make the environment that `mailroom train` needs (models.trainer=.venv-train/bin/python)

check: .venv/test ## style, types, dead code, and the hygiene of names, imports and documentation
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture
	$(BIN)/python -m pytest -q tests/hygiene

bench: .venv/test ## the slow measurements; MAILROOM_DATA names the folder of public data sets
	$(BIN)/python -m tests.benchmarks all

canaries: .venv/test ## search for the words of 133 of 200 documents after their erasure, in every file
	CANARIES=200 $(BIN)/python -m pytest -q -s --timeout 3600 tests/scenarios/test_erasure.py

figures: .venv/test ## rewrite the tables of docs/figures.md from tests/benchmarks/results
	$(BIN)/python -m tests.benchmarks.tables --write

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links -o requirements.lock
	uv pip compile pyproject.toml --extra milvus -c requirements.lock --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links -o requirements-milvus.lock
	uv pip compile pyproject.toml --extra test -c requirements.lock --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links -o requirements-test.lock

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } \
	  || { echo "python3-venv is needed: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

# Each stamp names the lock file it was made from; a second run does nothing and needs no network.
.venv/serve: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing the locked packages (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/test: requirements-test.lock .venv/serve
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-test.lock
	@touch $@

# An environment of its own, so that the one that serves shows what serving needs.
.venv-train/ready: pyproject.toml requirements-test.lock | .venv/bin/python
	@echo "Installing the packages that train models (once) ..."
	@$(PYTHON) -m venv .venv-train
	@sed -E '/^ +--hash/d; s/ \\$$//' requirements-test.lock > .venv-train/constraints.txt
	@.venv-train/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-train/constraints.txt --editable '.[test,train]'
	@touch $@

# The tests start a real PostgreSQL and read scans where the programs are there; root can fetch them.
system-packages:
	@bash tests/support/system_packages.sh

.PHONY: help demo up test test-serve test-train coverage trainer check bench canaries figures lock system-packages
