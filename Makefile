# Three commands on a fresh machine, each of which makes its own virtual environment:
#   make demo   run livecore on a small web app, with a page in the browser
#   make test   all checks and all tests
#   make bench  livecore beside its peers on this machine; BENCH_EDITS=N edits each, BENCH_QUICK=1 a smoke run
# Another interpreter: make test PYTHON=python3.13 TEST_VENV=.venv-test-3.13

PYTHON ?= python3
DEMO_VENV ?= .venv-demo
TEST_VENV ?= .venv-test
HOST ?= 127.0.0.1
PORT ?= 8000
BENCH_VENV ?= .venv-bench
BENCH_RESULTS ?= bench/results.json

.DELETE_ON_ERROR:
.PHONY: help demo test check unit e2e bench clean

help:
	@sed -n '1,5s/^# \{0,1\}//p' Makefile

# --- the main job -----------------------------------------------------------

demo: $(DEMO_VENV)/.ready
	@echo
	@echo "  1. open   http://$(HOST):$(PORT)/   and click a few times"
	@echo "  2. edit   playground/demo/app.py   (change GREETING or COLOUR, and save)"
	@echo "  3. watch  the page change while the counter and the list stay"
	@echo "  Then break the file on purpose: the old code serves on. Ctrl-C ends the demo."
	@echo
	@$(DEMO_VENV)/bin/livecore run app:app --app-dir playground/demo --host $(HOST) --port $(PORT) \
	  || { code=$$?; [ $$code -eq 130 ] || exit $$code; }

# --- checks and tests -------------------------------------------------------

# A file's tests stay in one process: what a module sets up is set up once.
test: check
	$(TEST_VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(TEST_VENV)/.ready
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy
	$(TEST_VENV)/bin/pyright
	$(TEST_VENV)/bin/lint-imports

unit: $(TEST_VENV)/.ready
	$(TEST_VENV)/bin/python -m pytest tests/unit

e2e: $(TEST_VENV)/.ready
	$(TEST_VENV)/bin/python -m pytest tests/e2e

# --- the benchmark: prints a table and writes JSON -----------------------------

bench: $(BENCH_VENV)/.ready
	@$(BENCH_VENV)/bin/python -m bench --output '$(BENCH_RESULTS)'

# Peers come one by one: one that cannot be had for this Python is a row that says so.
$(BENCH_VENV)/.ready: bench/requirements.txt bench/peers.txt

$(BENCH_VENV)/.ready: AFTER = grep -v '^\#' bench/peers.txt | while read -r peer; do \
	  $(@D)/bin/python -m pip install --quiet --disable-pip-version-check "$$peer" 2>$(@D)/peer.log \
	    || echo "  without $$peer, which cannot be installed here (see $(@D)/peer.log)"; done

# --- environments, made again when pyproject.toml changes -------------------

$(DEMO_VENV)/.ready: WHAT = .
$(TEST_VENV)/.ready: WHAT = .[test]
$(BENCH_VENV)/.ready: WHAT = .[asgi]
$(BENCH_VENV)/.ready: ALSO = -r bench/requirements.txt

$(DEMO_VENV)/.ready $(TEST_VENV)/.ready $(BENCH_VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "livecore needs CPython 3.11, 3.12 or 3.13 and $(PYTHON) is: $$($(PYTHON) --version 2>&1);" \
	       "name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "making $(@D) (once; and again when pyproject.toml changes)"
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '$(WHAT)' $(ALSO)
	@$(AFTER)
	@touch $@

clean:
	rm -rf $(DEMO_VENV) $(TEST_VENV) $(BENCH_VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
