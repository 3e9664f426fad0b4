# Everything runs in .venv, made from requirements.lock on first use; a change of the lock or of pyproject.toml rebuilds it.
# Processes of the test suite.
JOBS ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
EXTRACT_PARTS := $(wildcard watchdog/extract/*.c watchdog/extract/bpf/*) watchdog/extract/build.py
PIP_QUIET := --quiet --quiet --disable-pip-version-check

QUICK := not slow and not fuzz and not golden and not scenario and not recordings and not postgres and not chromium

.PHONY: setup demo run test quick kills soak check check-long fix evaluate bench proto docs lock test-lowest clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml watchdog/_launcher.py watchdog/_api.py watchdog/_private.py watchdog/core/release.py detectors/kernel.c detectors/kernel_build.py $(EXTRACT_PARTS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_QUIET) --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install $(PIP_QUIET) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m demo

run: $(STAMP)
	$(BIN)/watchdog $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

# A fast subset without servers, browsers and recordings. Budget: one minute on an idle machine.
quick: $(STAMP)
	$(BIN)/python -m pytest tests/unit tests/contract -m "$(QUICK)" $(ARGS)

# kill -9 two hundred times, where the other tests do it a dozen times: service and delivery.
kills: $(STAMP)
	WATCHDOG_KILLS=200 $(BIN)/python -m pytest -o faulthandler_timeout=1800 --timeout=3600 tests/e2e/test_service_faults.py \
	  tests/e2e/test_delivery_kill.py -k kill $(ARGS)

# Ten million hostile keys through engine and shipped rules: memory must not grow. Ctrl-C ends it; ARGS=1000000 for less.
soak: $(STAMP)
	$(BIN)/python -m benchmarks.soak $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --durations=10

# BPF at full rate, which `make check` tries in short form: exact counts, cost to the node, CPU of reader and service.
check-long: $(STAMP)
	$(BIN)/python -m benchmarks probe-cpu probe-loss probe-node-cost live-probes --gate $(ARGS)
	WATCHDOG_LONG=1 $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/e2e/test_alertmanager_cases.py

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the rules and cases make of labelled recordings: RECORDINGS="DIR ..." for others.
RECORDINGS ?= $(wildcard ../shared/recordings/open-*)
evaluate: $(STAMP)
	$(BIN)/watchdog evaluate $(ARGS) $(RECORDINGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# The message classes of nats: and peer-observer: from their .proto files; needs protoc.
proto:
	cd watchdog/sources/nats/proto && protoc -I . --include_imports --descriptor_set_out=descriptors.binpb archive.proto envelope_*.proto

docs: $(STAMP)
	$(BIN)/python -m watchdog.core.schema.generate
	$(BIN)/python -m watchdog.docs_build.event_pages
	$(BIN)/python -m watchdog.docs_build.key_tables
	$(BIN)/python -m watchdog.docs_build.rule_pages
	$(BIN)/python -m watchdog.cli.pages
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
