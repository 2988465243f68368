# Each target does all its own set-up on a fresh machine; a second time the set-up costs nothing.
# What is installed, and how, is in .ci/setup.

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench format lock prompts venv clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: venv ## a real call on a real Asterisk: decided, charged, warned, cut
	@.ci/setup optional-tools debootstrap
	@.venv/bin/charging demo

test: venv ## everything that matters, the real Asterisk included
	@.ci/setup tools redis-server prometheus ghostscript libtiff-tools sip-tester
	@.ci/setup optional-tools debootstrap
	@$(PYTHON) -m charging.lab || [ "$$CI" != true ]
	$(PYTEST) -q -n $(WORKERS) -m "not long" --ignore=tests/asterisk
	$(PYTEST) -q -n $(WORKERS) -m "not long" tests/asterisk

test-all: venv ## the same, and the long stories
	@.ci/setup tools redis-server prometheus ghostscript libtiff-tools sip-tester
	@.ci/setup optional-tools debootstrap
	@$(PYTHON) -m charging.lab || [ "$$CI" != true ]
	$(PYTEST) -q -n $(WORKERS) --ignore=tests/asterisk
	$(PYTEST) -q -n $(WORKERS) tests/asterisk

lint: venv ## style, types, and the rules of tests/test_architecture.py
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTEST) -q -p no:randomly tests/test_architecture.py

bench: venv ## figures of speed, printed beside what they are measured against
	@.ci/setup tools redis-server
	@set -e; for bench in tests/benchmarks/bench_*.py; do \
		echo "== $$bench"; $(PYTHON) -m "$$(echo "$${bench%.py}" | tr / .)"; done

format: venv ## let ruff lay out the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: venv ## resolve pyproject.toml into requirements.lock anew
	.venv/bin/uv pip compile pyproject.toml --extra dev --upgrade --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url --no-annotate --quiet -o requirements.lock

prompts: venv ## make the audio of prompts/script.yaml anew
	@.ci/setup tools espeak-ng sox
	$(PYTHON) prompts/build.py $(KEEP:%=--keep %)

venv: ## what every target needs: .venv with the locked packages
	@.ci/setup venv

clean: ## remove what make has made here (the lab's cached Asterisk stays)
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis
