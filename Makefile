# Everything runs in .venv, made from requirements.lock on first use; a change of the lock or of pyproject.toml rebuilds it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
PIP_QUIET := --quiet --quiet --disable-pip-version-check

QUICK := not slow and not fuzz and not golden and not scenario and not recordings and not postgres and not chromium

.PHONY: setup demo run test quick kills check fix bench docs lock test-lowest clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml watchdog/_launcher.py watchdog/core/release.py detectors/kernel.c detectors/kernel_build.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_QUIET) --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install $(PIP_QUIET) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m demo

run: $(STAMP)
	$(BIN)/watchdog $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

# A fast subset without servers, browsers and recordings. Budget: one minute on an idle machine.
quick: $(STAMP)
	$(BIN)/python -m pytest tests/unit tests/contract -m "$(QUICK)" $(ARGS)

# kill -9 two hundred times, where the other tests do it a dozen times: service and delivery.
kills: $(STAMP)
	WATCHDOG_KILLS=200 $(BIN)/python -m pytest -o faulthandler_timeout=1800 --timeout=3600 tests/e2e/test_service_faults.py \
	  tests/e2e/test_delivery_kill.py -k kill $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --durations=10

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks

docs: $(STAMP)
	$(BIN)/python -m watchdog.core.schema.generate
	$(BIN)/python -m watchdog.docs_build.event_pages
	$(BIN)/python -m watchdog.docs_build.config_tables
	$(BIN)/python -m watchdog.docs_build.rule_pages
	$(BIN)/python -m tests.support.readme

lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install $(PIP_QUIET) '.[parquet,dev]'
	.venv-lock/bin/python -m pip freeze --exclude bitcoin-watchdog | .venv-lock/bin/python -m tests.support.lock > .venv-lock/new
	mv .venv-lock/new requirements.lock && rm -rf .venv-lock

test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install $(PIP_QUIET) --constraint requirements-lowest.lock '.[parquet,dev]'
	.venv-lowest/bin/python -m pip uninstall --quiet --yes bitcoin-watchdog
	.venv-lowest/bin/python -m pytest $(ARGS)

clean:
	rm -rf .venv .venv-lock .venv-lowest .mypy_cache .ruff_cache build dist
