# `make demo` and `make test` do all of their own set-up: the virtual environment is made once and re-used.
PYTHON ?= python3
BIN := .venv/bin
# One process per core, each with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal
BASE := .venv/.base
READY := .venv/.ready

.PHONY: install demo test test-slow test-portable fuzz check-systems docs docs-test release lint format clean

install: $(BASE)

demo: $(BASE)
	$(BIN)/posewright demo --out runs/demo

test: $(READY) lint
	$(PYTEST) -m "not slow and not docs"

test-slow: $(READY)
	$(PYTEST) -m slow

# What depends on the CPU, once for each instruction set that this machine can stand for.
test-portable: $(READY)
	$(BIN)/python tests/portable.py

# Corrupted files of every kind and full disks; SEED and SECONDS may be set.
SEED ?= 0
SECONDS ?= 180
fuzz: $(READY)
	$(BIN)/python tests/fuzz --seed $(SEED) --seconds $(SECONDS) --keep runs/fuzz

# Each pose system learns synthetic people from scratch: an hour or two on two cores.
check-systems: $(READY)
	$(BIN)/python benchmarks/check_systems.py

# The site in build/site; a broken link or a missing reference fails.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

# What of the documents takes minutes: the notebooks and the long commands.
docs-test: $(READY)
	$(PYTEST) -m docs

# Builds the package, checks it, installs the wheel into a clean environment and tries it there; uploads nothing.
release:
	rm -rf build dist
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check build twine
	build/tools/bin/python -m build --outdir dist .
	build/tools/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/clean
	build/clean/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	build/clean/bin/python -I tests/smoke.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch comes first and from the constraints file, so that no looser request pulls another build of it.
$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.x" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $(BASE)

# All extras and the developers' tools, on top.
$(READY): $(BASE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

clean:
	rm -rf .venv build dist src/*.egg-info
