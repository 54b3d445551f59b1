# Two commands do everything on a fresh machine with Python >= 3.11: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEV_READY := .venv/.ready-dev

.PHONY: run test lint bench clean
.DELETE_ON_ERROR:

run: $(READY)          ## the quickstart suite, its report on screen and in reports/local/
	$(BIN)/flipbench run quickstart
	$(BIN)/flipbench report quickstart

test: $(DEV_READY)     ## lint, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder  # by name, so that the longest files are not the last

lint: $(DEV_READY)     ## mend what can be mended, then check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

bench: $(DEV_READY)    ## speed against DeepCTR-Torch, in one run
	$(BIN)/python benchmarks/id_models.py

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache results/local reports/local

.venv:
	$(PYTHON) -m venv .venv

$(READY): pyproject.toml constraints.txt | .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(DEV_READY): pyproject.toml constraints.txt | .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY) $@
