# Every target sets up .venv by itself, and at once when pyproject.toml and constraints.txt have not changed.
# The package is installed editable: a change in src needs no new set-up.
PYTHON ?= python3
BIN := .venv/bin
comma := ,
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NOTEBOOKS := $(wildcard examples/*.ipynb)

# What is installed is compiled on all cores, and its own tests are not; pip would compile file after file on one.
define install
$(PYTHON) -m venv .venv
$(PIP) --no-compile --editable '$(1)'
-$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib
endef

.NOTPARALLEL:
.PHONY: help demo test soak bench lint docs clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: .venv/ready-for-demo ## the main job, on the tumor data
	$(BIN)/glassnet demo

# One BLAS thread for each worker: two workers with a pool of threads each slow one another down. A worker begins with
# half of the tests in one piece, so that a file's fixtures and kernels are made once, and ends with some of the other's.
test: .venv/ready-for-dev ## every test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

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
	$(BIN)/sphinx-build -W --keep-going --quiet --jobs auto docs docs/_build/html

clean: ## what the targets made, the environment apart
	rm -rf build dist docs/_build docs/reference/generated glassnet-demo .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready-for-demo: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(call install,.[peers])
	@touch $@

# The development tools come with the peers, so this also makes ready for the demo.
.venv/ready-for-dev: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(call install,.[dev])
	@touch .venv/ready-for-demo $@

# torch takes gigabytes on some systems, so only those who race wait for it.
.venv/ready-for-bench: pyproject.toml constraints.txt
	@echo 'Setting up .venv: minutes the first time'
	$(call install,.[dev$(comma)race])
	@touch .venv/ready-for-demo .venv/ready-for-dev $@
