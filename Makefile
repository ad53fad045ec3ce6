# Everything a user or CI does; `make help` lists it. Each target creates .venv from the lock when it is missing.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SPARK := $(VENV)/.spark
SPARK_LOCK := training/spark/requirements.lock
PATHS := features models training serving leadloop.py tests notebooks examples docs

# Threads of one test would wait for those of the others.
ONE_THREAD := OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo notebooks test quick lint types docs bench soak fuzz audit bento lock format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# PySpark is published as source only: what builds it comes from its lock, too.
$(SPARK): $(READY) $(SPARK_LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --build-constraints $(SPARK_LOCK) -r $(SPARK_LOCK)
	@touch $@

install: $(READY) ## create .venv from the lock, or bring it up to date

demo: $(READY) ## make a history, train, track, report, serve one scored and explained lead
	@$(BIN)/leadloop demo

notebooks: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lint: $(READY) ## style, imports, direction of dependencies
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/ruff check $(PATHS)
	$(BIN)/lint-imports

types: $(READY) ## strict type check
	$(BIN)/mypy

docs: $(READY) ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Spark's tests run where there is a Java to run them with, and skip with a reason elsewhere. Three tests at a
# time on two cores, as many of them wait for a server or a browser.
test: $(READY) ## everything that CI runs; the tests build the documentation, too
	@$(MAKE) --no-print-directory -j 3 lint types $(if $(shell command -v java),$(SPARK))
	$(ONE_THREAD) $(BIN)/pytest -n 3 --dist loadscope --no-loadscope-reorder

quick: $(READY) ## the tests that take seconds
	$(ONE_THREAD) $(BIN)/pytest -n 2 -m "not slow"

bench: $(READY) ## measure; prints the tables of docs/explanation/measured.md
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

soak: $(READY) ## half an hour of steady load with a promotion every minute; ARGS="--minutes 3"
	$(BIN)/python tests/benchmarks/soak.py $(ARGS)

fuzz: $(READY) ## thousands of drawn requests and tables: answers as the API page says, cells as they are
	LEADLOOP_FUZZ=$${LEADLOOP_FUZZ:-500} $(BIN)/pytest -q tests/serving/test_fuzz.py
	LEADLOOP_FUZZ_TABLES=$${LEADLOOP_FUZZ_TABLES:-1000} $(BIN)/pytest -q tests/features/ingest/test_table_fuzz.py

format: $(READY) ## put the source into shape
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)

audit: $(READY) ## known vulnerabilities of what is installed, as the package index knows them
	$(BIN)/pip-audit --disable-pip --require-hashes --progress-spinner off -r requirements.lock

bento: $(READY) ## pack the service, and nothing it does not need
	BENTOML_DO_NOT_TRACK=True $(BIN)/bentoml build --bentofile serving/bentofile.yaml .

UV_LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header
# Half a gigabyte that `make demo` does not need.
WITHOUT_SPARK := --no-emit-package pyspark --no-emit-package py4j
lock: $(READY) ## resolve the dependencies anew, with hashes and without index hosts
	$(BIN)/$(UV_LOCK) pyproject.toml --all-extras $(WITHOUT_SPARK) --upgrade -o requirements.lock
	$(BIN)/$(UV_LOCK) pyproject.toml --extra serve -c requirements.lock -o serving/requirements.lock
	$(BIN)/$(UV_LOCK) --group spark-lock -c requirements.lock --upgrade -o $(SPARK_LOCK)

clean: ## remove what was installed and made
	rm -rf $(VENV) leadloop-out docs/_build docs/reference/generated docs/tutorial/notebooks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
