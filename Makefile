# Every target sets up .venv by itself, and at once when pyproject.toml and constraints.txt have not changed.
# The package is installed editable: a change in src needs no new set-up.
PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
NOTEBOOKS := $(wildcard examples/*.ipynb)

.NOTPARALLEL:
.PHONY: help demo test soak bench lint docs clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: .venv/ready-for-demo ## the main job, on the tumor data
	$(BIN)/glassnet demo

# One BLAS thread for each worker: two workers with a pool of threads each slow one another down.
test: .venv/ready-for-dev ## every test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

soak: .venv/ready-for-dev ## the long searches for what breaks
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m soak --timeout 0 tests/soak

bench: .venv/ready-for-bench ## every benchmark, one after another
	set -e; for file in $(sort $(wildcard benchmarks/*.py)); do echo "$$file"; $(BIN)/python "$$file"; done

lint: .venv/ready-for-dev ## style, types, and notebooks without errors or anyone's folders in them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	! grep -nE '"output_type": "error"|"name": "stderr"|/(home|root|tmp|Users)/' $(NOTEBOOKS) /dev/null

docs: .venv/ready-for-dev ## the documentation, in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going --quiet docs docs/_build/html

clean: ## what the targets made, the environment apart
	rm -rf build dist docs/_build docs/reference/generated glassnet-demo .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready-for-demo: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(INSTALL) '.[peers]'
	@touch $@

# The development tools come with the peers, so this also makes ready for the demo.
.venv/ready-for-dev: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(INSTALL) '.[dev]'
	@touch .venv/ready-for-demo $@

# torch takes gigabytes on some systems, so only those who race wait for it.
.venv/ready-for-bench: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(INSTALL) '.[dev,race]'
	@touch .venv/ready-for-demo .venv/ready-for-dev $@
