# Everything from one place. `make train` on a fresh machine sets itself up in .venv; ARGS go to the command:
#     make train ARGS="--preset mini_gpt"        make sample ARGS="--prompt 'Once upon a time'"
# PYTHON says which Python makes the .venv. Plain GNU make 3.81, for that is what macOS has.

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TESTS ?= tests
WORKERS ?= 2
ARGS ?=

.PHONY: help install install-dev train sample serve eval bench reliability pictures test test-long check format lint typecheck coverage clean

help:
	@echo "make train      set up, train the default model, show what it writes"
	@echo "make sample     let the newest model write"
	@echo "make serve      a page in the browser: write, look inside, watch runs"
	@echo "make eval       its loss, beside what simpler methods reach"
	@echo "make test       all tests but the long ones (make test-long)"
	@echo "make bench      measure us beside others, and write docs/performance.md (ARGS=\"--nanogpt PATH --text FILE\")"
	@echo "make reliability  have accidents by the thousand, and write docs/reliability.md (half an hour)"
	@echo "make pictures   take the pictures of the page, with the system's Chromium (ARGS=\"--runs FOLDER\")"
	@echo "make check      format, lint, types, the reading order, no pickles: what CI looks at first"
	@echo "make install | format | lint | typecheck | coverage | clean"

install: .venv/installed
install-dev: .venv/installed-dev

train: .venv/installed
	@$(BIN)/glassgpt train $(ARGS)

sample: .venv/installed
	@$(BIN)/glassgpt sample --out outputs/sample.txt $(ARGS)

serve: .venv/installed-serve
	@$(BIN)/glassgpt serve --open $(ARGS)

eval: .venv/installed
	@$(BIN)/glassgpt eval $(ARGS)

bench: .venv/installed-dev
	@$(BIN)/python benchmarks/report.py $(ARGS)

reliability: .venv/installed-dev
	@$(BIN)/python benchmarks/reliability.py $(ARGS)

pictures: .venv/installed-dev
	@$(BIN)/python docs/pictures.py $(ARGS)

# Each worker computes with one thread: two that share two cores would wait for each other.
test test-long coverage: export OMP_NUM_THREADS = 1

test: .venv/installed-dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS) $(ARGS)

test-long: .venv/installed-dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "slow or not slow" $(TESTS) $(ARGS)

coverage: .venv/installed-dev
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term-missing:skip-covered --cov-report=html $(TESTS) $(ARGS)

check: .venv/installed-dev
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_reading_order.py tests/test_nothing_runs.py

format: .venv/installed-dev
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

lint: .venv/installed-dev
	@$(BIN)/ruff check

typecheck: .venv/installed-dev
	@$(BIN)/mypy

# What can be made again. Your runs and the .venv stay.
LEFT := build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
clean:
	@$(PYTHON) -c "import shutil, pathlib; P = pathlib.Path; left = [P(n) for n in '$(LEFT)'.split()] + [p for d in ('src', 'tests') for p in P(d).rglob('__pycache__')]; [p.unlink() if p.is_file() else shutil.rmtree(p, ignore_errors=True) for p in left]"

# Set up once, and again when what is needed has changed.
.venv/installed: .venv/made pyproject.toml constraints.txt
	@echo "Installing glassgpt and what it needs into .venv (torch is large; this happens once) ..."
	@$(PIP) -e .
	@$(BIN)/python -c "open('$@', 'w').close()"

.venv/installed-serve: .venv/installed
	@echo "Installing what the page needs into .venv ..."
	@$(PIP) -e ".[serve]"
	@$(BIN)/python -c "open('$@', 'w').close()"

.venv/installed-dev: .venv/installed
	@echo "Installing what the tests and checks need into .venv ..."
	@$(PIP) -e ".[dev]"
	@$(BIN)/python -c "open('$@', 'w').close()"

.venv/made:
	@$(PYTHON) -c "import sys; v = sys.version_info; v >= (3, 10) or sys.exit('glassgpt needs Python 3.10 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12' % v[:2])"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -c "open('$@', 'w').close()"
