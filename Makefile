# Each target does all its own set-up on a fresh machine; a second time the set-up costs nothing.
# What is installed, and how, is in .ci/setup.

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
WORKERS ?= 2
PREFIX ?= /opt/charging/.venv
SECONDS ?= 60
SITE ?= site
CALLS ?= 10000
DAEMONS ?= 1
HOLD ?= 130
AWAY ?= 50
LEDGER ?= sqlite
FIGURES ?= .cache/bench-daemon.json

# Compiled code is kept: a test run starts hundreds of processes, and each would compile the whole program again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-tools test-all lint docs fuzz bench bench-live costs soak mutants doors format lock wheel client deb install sbom audit recordings pictures prompts venv clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: venv ## a real call on a real Asterisk: decided, charged, warned, cut
	@.ci/setup optional-tools debootstrap
	@.venv/bin/charging demo

test: test-tools ## everything that matters, the real Asterisk included
	@.ci/test -m "not long"

test-tools: venv
	@.ci/setup docs
	@.ci/setup clients
	@.ci/setup typescript
	@.ci/setup tools redis-server prometheus ghostscript libtiff-tools sip-tester chromium openssl
	@.ci/setup optional-tools debootstrap
	@$(PYTHON) -m charging.lab || [ "$$CI" != true ]

test-all: test-tools ## the same, and the long stories
	@.ci/setup tools systemd postfix
	@.ci/test

lint: venv ## style, types, and the rules of tests/test_architecture.py
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTEST) -q -p no:randomly tests/test_architecture.py

docs: ## site/: README.md and docs/ as a site; a link that leads nowhere, like any warning, ends it
	@.ci/setup docs
	@.cache/docs/bin/python -m sphinx -W --keep-going -q -E -c docs . $(SITE)
	@echo "open $(SITE)/index.html"

fuzz: venv ## coverage-guided fuzzing of what reads from outside: each of TARGETS="agi ami…" (all) for SECONDS (60)
	$(PYTHON) -m tests.fuzz.run --seconds $(SECONDS) --at-once $(WORKERS) $(TARGETS)

bench: venv ## figures of speed, printed beside what they are measured against
	@.ci/setup tools redis-server
	@set -e; for bench in tests/benchmarks/bench_*.py; do \
		echo "== $$bench"; $(PYTHON) -m "$$(echo "$${bench%.py}" | tr / .)"; done
	@echo "the daemon's figures as JSON: $(FIGURES)"

bench-live: venv ## DAEMONS (1) under CALLS (10,000) live calls on LEDGER (sqlite): held, killed, restarted, the books compared
	@.ci/setup tools redis-server
	$(PYTHON) -m tests.benchmarks.bench_daemon --only $(LEDGER) --parts live --daemons $(DAEMONS) --calls $(CALLS) --hold $(HOLD) --away $(AWAY) --json $(FIGURES)

bench-day: venv ## a day's calls in MINUTES (60) on LEDGER (sqlite), ten times an operator's busy hour: nothing but the books may grow
	@.ci/setup tools redis-server
	$(PYTHON) -m tests.benchmarks.bench_daemon --only $(LEDGER) --parts day --rate 10 --minutes $(MINUTES) --json $(FIGURES)
	@$(PYTHON) -m tests.pictures day

costs: venv ## what main works cost in steps of the interpreter; keeps it for the test that lets none grow
	@$(PYTHON) -m tests.benchmarks.costs --keep

MINUTES ?= 60

soak: venv ## days of a simulated city with every fault, by fresh seeds, for MINUTES (60); what fails is told in a few lines
	$(PYTHON) -m tests.simulation --minutes $(MINUTES)

soaked: venv ## publishes what LOGS of the simulation tell (python -m tests.simulation --log LOG), told at COMMIT, in docs/testing.md
	$(PYTHON) -m tests.simulation --read $(LOGS) --publish $(COMMIT)
	@$(PYTHON) -m tests.pages

mutants: venv ## plants some 300 mistakes, one after another: the quick tests must find each
	$(PYTHON) -m tests.mutants --at-once $(WORKERS)

doors: venv ## how many files a newcomer opens to follow six walks through the program
	@$(PYTHON) -m tests.benchmarks.doors

format: venv ## let ruff lay out the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: ## make the locks again from pyproject.toml; pins stay, but for PACKAGES="name…" (or --all)
	@.ci/setup lock $(PACKAGES)

wheel: ## dist/: this package as a wheel, another with its demo, and the lock of what runs
	@.ci/setup wheels dist

client: venv ## dist/: charging-client, a Python client of the public interface, made from its description
	@.ci/setup clients
	@$(PYTHON) .ci/client.py .cache/client
	@$(PYTHON) -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir dist ./.ci/client

client-types: venv ## dist/charging.d.ts: TypeScript types of the public interface, made from its description
	@.ci/setup typescript
	@$(PYTHON) .ci/client.py --types dist

deb: venv wheel ## dist/: Debian packages for Debian 12, of the program and of its demo
	@$(PYTHON) .ci/deb.py dist

install: ## a venv for a server at PREFIX: what runs, and nothing that tests or builds
	@.ci/setup production $(PREFIX)

sbom: ## dist/sbom.json: what `make install` installs, as CycloneDX
	@.ci/setup production .cache/production
	@.ci/setup supply
	@mkdir -p dist
	@.cache/supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
		--of JSON -o dist/sbom.json .cache/production

audit: ## look up known vulnerabilities of what `make install` installs, where a feed can be reached
	@.ci/setup supply
	@.cache/supply/bin/python .ci/audit.py requirements.lock

recordings: venv ## tests/data/ami and tests/data/agi again, of the branch of Asterisk that the lab has
	@.ci/setup optional-tools debootstrap
	$(PYTHON) -m tests.asterisk.record

pictures: venv ## docs/pictures/: the demo and the dashboard from runs on the real Asterisk, the console in a real browser
	@.ci/setup tools prometheus chromium
	@.ci/setup optional-tools debootstrap
	$(PYTHON) -m tests.pictures

prompts: venv ## make the audio of prompts/script.yaml again
	@.ci/setup tools espeak-ng sox
	$(PYTHON) prompts/build.py $(KEEP:%=--keep %)

venv: ## what every target needs: .venv with the locked packages
	@.ci/setup venv

clean: ## remove what make has made here (the lab's cached Asterisk stays)
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis site
