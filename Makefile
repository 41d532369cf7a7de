# Every target makes its own virtual environment: with uv if it is there, else with venv and pip.
PYTHON ?= python3
VENV ?= .venv
# Versions that are known to work together; `make test CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
PIN := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(BIN)/python -m pip install -q --disable-pip-version-check)
# One BLAS thread: JAX's small SVDs and QRs are many times slower on several.
export OPENBLAS_NUM_THREADS ?= 1
export MPLBACKEND ?= agg

# The interpreters of the version matrix: pyenv's, whose python3.13 on the PATH may be none, or the PATH's.
find_python = $(or $(lastword $(wildcard $(shell pyenv root 2>/dev/null)/versions/$(1).*/bin/python)),python$(1))
OLDEST_PYTHON ?= $(call find_python,3.11)
NEWEST_PYTHON ?= $(call find_python,3.13)
# i/n: the i-th of n parts of the tests; 1/1 are all.
PART ?= 1/24
# pytest's processes for such a part.
WORKERS ?= auto

.PHONY: help report test matrix oldest newest part doctest browser lint format bench bench-quick validate studies notebooks docs clean

help:
	@echo "make report     train, measure and draw: report/index.html"
	@echo "make test       the test suite and the doctests"
	@echo "make matrix     a part of the tests with the oldest and the newest versions that are allowed"
	@echo "make browser    the report and a notebook, driven in a headless Chromium (which must be there)"
	@echo "make lint       style, types"
	@echo "make notebooks  run the notebooks"
	@echo "make docs       the documentation, with the notebooks: docs/_build/html/index.html"
	@echo "make bench      the benchmarks: a dated table in benchmarks/results/"
	@echo "make bench-quick  the same, small: does it run?"
	@echo "make studies    train: the remedies, the adding problem, the real tasks: studies/results/"
	@echo "make validate   against exact answers, other libraries and publications: docs/validation.md"

report: $(VENV)/.with-nothing
	$(BIN)/jaxrnn report --out report

test: $(VENV)/.with-test doctest
	$(BIN)/python -m pytest -n auto --dist worksteal --jaxtyping-packages=jaxrnn,beartype.beartype tests

# Warnings are errors there, too. What Python 3.11 resolves to is constraints.txt, with which `test` runs.
matrix: oldest newest

oldest:
	@mkdir -p build
	$(OLDEST_PYTHON) tools/lowest.py test > build/lowest.txt
	$(MAKE) part VENV=$(VENV)-oldest PYTHON=$(OLDEST_PYTHON) CONSTRAINTS=build/lowest.txt

newest:
	$(MAKE) part VENV=$(VENV)-newest PYTHON=$(NEWEST_PYTHON) CONSTRAINTS=

part: $(VENV)/.with-test
	$(BIN)/python -c 'import jax, sys; print(f"Python {sys.version.split()[0]}, jax {jax.__version__}, tests $(PART)")'
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --jaxtyping-packages=jaxrnn,beartype.beartype --part $(PART) tests

# Without the tests' settings of JAX, as a user would type them.
doctest: $(VENV)/.with-test
	$(BIN)/python -m pytest -n auto -p tests.faster --doctest-modules jaxrnn

browser: $(VENV)/.with-browser
	$(BIN)/python -m pytest browser

lint: $(VENV)/.with-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --python $(BIN)/python jaxrnn

format: $(VENV)/.with-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/.with-notebooks
	$(BIN)/python tools/run_notebooks.py
	@touch build/notebooks/.done

# Only when they are older than what they show.
build/notebooks/.done: $(wildcard notebooks/*.py) $(shell find jaxrnn -name '*.py')
	$(MAKE) notebooks

docs: $(VENV)/.with-docs build/notebooks/.done
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(VENV)/.with-bench
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.with-bench
	$(BIN)/python -m benchmarks --quick

validate: $(VENV)/.with-validate
	$(BIN)/python -m validation

studies: $(VENV)/.with-tasks
	$(BIN)/python -m studies

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest build dist report docs/_build docs/notebooks docs/pictures .pytest_cache .ruff_cache .jax_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "jaxrnn needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	$(if $(UV),$(UV) venv -q --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

$(VENV)/.with-nothing: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) $(PIN) -e .
	@touch $@

$(VENV)/.with-%: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) $(PIN) -e '.[$*]'
	@touch $@
