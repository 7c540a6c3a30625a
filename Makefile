# Everything here sets itself up: Python 3.11 or later, make and git are enough.
# Each version that PYTHON names has an environment of its own, .venv-3.13, so that no run uses another's by mistake.
PYTHON ?= python3
ifeq ($(origin PYTHON),file)
VENV   ?= .venv
else
VENV   ?= .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   := $(VENV)/.demo
SITE   := $(VENV)/.docs

.PHONY: help demo demo-starts unit test lint types tests ci interop senders weekly coverage lowest bench bench-full bench-readme bench-beside bench-guard \
	ab docs dist lock clean

help:
	@echo "make demo          push to 100 000 fake devices and check every result; no account"
	@echo "make unit          the fast tests, to run while you work"
	@echo "make test          ruff, mypy --strict, and every test that needs only Python"
	@echo "make ci            make test, and the tests that need Debian packages and toolchains (.ci/run installs them)"
	@echo "make senders       build the senders of other projects and run them against the fakes; writes docs/inside/senders.md"
	@echo "make weekly        fuzzing, many kills and mutants: takes hours"
	@echo "make coverage      the branches that make unit reaches, compared with the floor of each package; pages in build/coverage"
	@echo "make lowest        tests with the oldest versions of the dependencies that pyproject.toml allows"
	@echo "make bench         every measurement, in short runs: tables, and a report with pictures in build/bench"
	@echo "make bench-full    the same in long runs, for hours, in build/bench-full"
	@echo "make bench-readme  measure the figures of README and docs/inside/benchmarks.md, and write them there"
	@echo "make bench-guard   fail if a ratio to h2load has fallen, or an allocation was added"
	@echo "make ab REV=main   compare HEAD with a commit: fail if a push takes more CPU or allocates more"
	@echo "make docs          build the documentation as a site in build/docs/site; a warning or a dead link is an error"
	@echo "make dist          build wheel and sdist in dist/, and check their metadata"
	@echo "make lock          write today's versions of the dependencies to requirements.lock"
	@echo "make clean         remove the virtual environment and the caches"

$(BIN)/python:
	@$(PYTHON) -c '' 2>/dev/null || { echo "there is no $(PYTHON) here that runs; try: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "pushcore needs Python 3.11 or later; try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e

$(STAMP): pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing pushcore and what its tests and benchmarks need into $(VENV), 150 packages: this takes minutes the first time."
	$(INSTALL) '.[dev]'
	@touch $(DEMO) $(SITE) $@

$(DEMO): pyproject.toml requirements.lock | $(BIN)/python
	$(INSTALL) '.[fakeservers]'
	@touch $@

$(SITE): pyproject.toml requirements.lock | $(BIN)/python
	$(INSTALL) '.[docs]'
	@touch $@

demo-starts:
	@echo "This pushes to 100 000 fake devices and checks every result. It needs no account."
	@[ -e $(DEMO) ] || echo "First it installs pushcore and its fake servers into $(VENV): this takes some seconds."

demo: demo-starts $(DEMO)
	@$(BIN)/pushcore demo

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

# Hundreds of tests start a Python of their own, which must not compile everything again.
unexport PYTHONDONTWRITEBYTECODE

# docs/inside/testing.md says what each tier is for. PYTEST_ARGS="-n 0 -k journal" runs some, and in one process.
PYTEST   := $(BIN)/python -m pytest -q
# In the order of the folders: the long tests begin first, and the fast ones of tests/unit fill up the cores at the end.
PARALLEL := -n auto --dist loadgroup --no-loadscope-reorder
FAST     := $(wildcard tests/unit tests/protocol tests/golden) -m "not (slow or ci or weekly)" -n logical --dist worksteal

unit: $(STAMP)
	HYPOTHESIS_PROFILE=unit $(PYTEST) $(FAST) $(PYTEST_ARGS)

tests: $(STAMP)
	$(PYTEST) -m "not (ci or weekly)" $(PARALLEL) $(PYTEST_ARGS)

ci: test interop

interop: $(STAMP)
	$(PYTEST) -m "ci and not weekly" $(PARALLEL) $(PYTEST_ARGS)

# SENDERS_ARGS="rust_a2 --count 2000 --times 20" runs some, or for longer.
senders: $(STAMP)
	$(BIN)/python -m tests.senders $(SENDERS_ARGS)

weekly: $(STAMP)
	PUSHCORE_TESTS=weekly $(PYTEST) -m "weekly or grows or hypothesis" $(PARALLEL) --timeout 7200 $(PYTEST_ARGS)
	$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

# RAISE=1 raises the floors to what is reached.
coverage: $(STAMP)
	$(PYTEST) $(FAST) --cov --cov-report=html --cov-report=json:build/coverage/lines.json $(PYTEST_ARGS)
	$(BIN)/python -m tests.rooms build/coverage/lines.json $(if $(RAISE),--raise)

# The fakes too: their command, control port and token endpoint. The environment is made anew when a bound changes.
LOWEST_TESTS := tests/unit tests/protocol $(addprefix tests/e2e/,audience/test_storage.py queue/test_conformance.py queue/test_worker.py \
	fcm/test_google_auth.py http2/test_interop.py cli/test_send.py) $(addprefix tests/fakeservers/,test_command.py control/test_control.py fcm/test_oauth.py)

lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest -q $(LOWEST_TESTS) -m "not (ci or weekly)" $(PARALLEL) $(PYTEST_ARGS)

.venv-lowest/.installed: pyproject.toml .ci/lowest.py
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) .ci/lowest.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-lowest/requirements.txt -e .
	@touch $@

# BENCH_ARGS="--only rivals --provider apns" measures less; --resume goes on where an earlier run has ended.
bench: $(STAMP)
	$(BIN)/python -m bench report build/bench --short $(BENCH_ARGS)

bench-full: $(STAMP)
	$(BIN)/python -m bench report build/bench-full $(BENCH_ARGS)

# PYTHON=/usr/bin/python3 BESIDE=python3.12 measures a distribution's interpreter, as users have it, and another beside it.
bench-readme: $(STAMP)
	$(BIN)/python -m bench report build/bench-readme --only throughput --only rivals --only wan --only delay --only memory \
		--only flat $(BENCH_ARGS)
	$(if $(BESIDE),$(MAKE) PYTHON=$(BESIDE) bench-beside)
	$(BIN)/python -m bench readme build/bench-readme $(if $(BESIDE),--beside build/bench-beside)

bench-beside: $(STAMP)
	$(BIN)/python -m bench report build/bench-beside --only throughput $(BENCH_ARGS)

bench-guard: $(STAMP)
	$(BIN)/python -m bench guard

# REV is the old commit, BENCH_ARGS="--only engine --runs 15" measures less.
ab: $(STAMP)
	$(if $(REV),,$(error the old commit is missing: make ab REV=main))
	$(BIN)/python -m bench ab $(BENCH_ARGS) -- $(REV) HEAD

docs: $(SITE)
	$(BIN)/python -m docsite

dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*

lock: $(STAMP)
	$(BIN)/python -m pip freeze --exclude-editable | sed '/^-e /d; / @ /d' > requirements.lock

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
