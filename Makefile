# Everything a newcomer or CI types. Each target works in a fresh clone: it makes .venv, installs what it
# needs from the package index that pip is set up for, and goes. ARGS passes arguments on:
#     make demo ARGS="--kill --seconds 20"      make test ARGS="tests/bus -k close"

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
SEEDS  ?= 10000

PY  := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

# The checkers are pinned in pyproject.toml: pyright need not look on the network for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.DEFAULT_GOAL := help
.PHONY: help demo demo-compose demo-compose-offline release-check test check format coverage bench bench-full faults soak live sim docs clean
# A recipe that fails must not leave a stamp that says it worked.
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 30

demo: $(VENV)/runs ## three nodes, one database, caches kept right by the bus; ends with the ledger
	@$(VENV)/bin/bus demo $(ARGS)

demo-compose: ## three nodes and a broker in containers, faults, the ledger; ARGS="--backend redis --keep"
	@$(PYTHON) -m demos.verify $(ARGS)

# Where no image can be pulled: stand-ins of Debian packages. As root. The first run fetches and builds them.
PLAYS ?= nats redis=kill zenoh=kill kafka=kill
demo-compose-offline: $(VENV)/develops ## the same on an engine and images of our own; PLAYS="nats redis=steady,kill"
	@$(PY) -m tests.compose $(PLAYS)

# The slowest are first, so that no worker ends with one of them alone; loadgroup, which has no groups here,
# hands them out one by one in this order. An environment of 100 MB is kept only if its test fails.
RELEASE := $(addprefix tests/release/test_,pythons.py extras.py whole.py archives.py)
release-check: $(VENV)/develops ## wheel, sdist, every extra alone, types, licences, every Python of this machine
	@$(PY) -m pytest $(RELEASE) --release -n 3 --dist loadgroup --no-loadscope-reorder -p no:cacheprovider \
	    -o tmp_path_retention_policy=failed $(ARGS)

# Three workers on two cores: many tests wait for real time to pass, or for a server.
test: $(VENV)/develops ## the whole suite
	@$(PY) -m pytest -n 3 --dist loadscope $(ARGS)

check: $(VENV)/develops ## format, lint, types
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(PY)
	@echo "pyright --verifytypes bus: every public name has a type that all checkers read the same"
	@said=$$(PATH="$(abspath $(VENV))/bin:$$PATH" pyright --verifytypes bus --ignoreexternal) || \
	    { echo "$$said"; exit 1; }

format: $(VENV)/develops ## put every file into the one format
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix

coverage: $(VENV)/develops ## every branch of the protocol core is taken by its own tests
	@$(PY) -m coverage run -m pytest -q tests/protocol
	@$(PY) -m coverage report --include='bus/protocol/*' --fail-under=100

bench: $(VENV)/develops ## throughput and latency beside the raw clients
	@$(PY) -m bus.bench $(ARGS)

# Goes on where it was stopped: a cell with a result in benchmarks/results/ is not measured again.
bench-full: $(VENV)/develops ## the whole grid (a quarter of an hour) with charts and goals; ARGS="nats latency --again"
	@$(PY) -m benchmarks.full $(ARGS)

# Goes on where it was stopped: what is in tests/faults/results.jsonl is not run again.
faults: $(VENV)/develops ## the fault matrix under load (root: real network faults), then docs/faults.md; ARGS="17 nats"
	@$(PY) -m tests.faults $(ARGS); code=$$?; $(PY) -m tests.faults --document; exit $$code

# Resumable as well: what passed for as long (tests/soak/results.jsonl) is not run again.
soak: $(VENV)/develops ## 10 minutes on each system under a seeded nemesis; ARGS="--minutes 2 memory nats"
	@$(PY) -m tests.soak $(ARGS)

live: $(VENV)/develops ## a cluster under load moves through four systems and back, 5 rounds
	@$(PY) -m tests.live $(ARGS)

sim: $(VENV)/develops ## the long simulation; SEEDS=n for another number of seeds
	@$(PY) -m pytest tests/simulation -q --timeout=0 --seeds $(SEEDS) $(ARGS)

docs: $(VENV)/documents ## the documentation as a site in build/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=.:backends $(VENV)/bin/mkdocs build --strict --quiet $(ARGS)

clean: ## remove the environment and everything that was built or cached
	rm -rf $(VENV) dist build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: made once, made again when pyproject.toml changes.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "This needs Python 3.11 or newer as '$(PYTHON)', found: $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@# What was begun here and not finished is made anew; what somebody else has made is never emptied.
	@if test -e $(VENV)/making || test -z "$$(ls -A $(VENV) 2>/dev/null)"; then \
	    echo "Making $(VENV) with $$($(PYTHON) --version) ..." >&2; \
	    mkdir -p $(VENV) && touch $(VENV)/making && \
	    rm -rf $(addprefix $(VENV)/,bin include lib lib64) && $(PYTHON) -m venv $(VENV); \
	elif test -e $(VENV)/pyvenv.cfg && test -x $(PY); then \
	    $(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip; \
	else \
	    echo "$(VENV) is there and is no environment of Python: name another one with VENV=..." >&2; exit 1; \
	fi
	@touch $@
	@rm -f $(VENV)/making

$(VENV)/runs: $(VENV)/made pyproject.toml
	@echo "Installing the bus into $(VENV) ..." >&2
	@$(PIP) -e '.[zenoh,rich,fast]'
	@touch $@

# Includes what `runs` stands for.
$(VENV)/develops: $(VENV)/made pyproject.toml
	@echo "Installing the bus and what tests and checks need into $(VENV) (about a minute) ..." >&2
	@$(PIP) -e '.[all,dev]'
	@touch $(VENV)/runs $@

$(VENV)/documents: $(VENV)/develops
	@echo "Installing what the documentation needs into $(VENV) ..." >&2
	@$(PIP) -e '.[docs]'
	@touch $@
