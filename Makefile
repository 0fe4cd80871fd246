# Everything one does with this project. `make` lists it.

PYTHON3 ?= python3
PYTHON := .venv/bin/python
RUN := .venv/bin/tenant-pipelines
INSTALLED := .venv/.installed
BENCH := .venv-bench/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help install demo up down test crash soak lint types imports format docs bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with exactly what requirements.lock names

$(INSTALLED): requirements.lock requirements-bootstrap.txt pyproject.toml
	@$(PYTHON3) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or newer is needed. Way out: make PYTHON3=/path/to/python3.11"; exit 1; }
	test -x $(PYTHON) || $(PYTHON3) -m venv .venv
	$(PYTHON) -m pip install --quiet --require-hashes -r requirements-bootstrap.txt
	.venv/bin/uv pip sync --quiet --compile-bytecode --python $(PYTHON) --require-hashes requirements.lock
	.venv/bin/uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	touch $@

demo: install ## Provision a few tenants on the local stack, show one that fails, and stop everything
	@$(RUN) demo

up: install ## Run the local stack in the foreground, until Ctrl-C
	@exec $(RUN) up

down: install ## End a local stack that was left behind
	@$(RUN) down

test: lint types imports ## Check everything, with the coverage of the tests
	$(PYTHON) -m pytest -n 4 --dist loadfile -m "not stack and not slow" --cov --cov-report=
	$(PYTHON) -m pytest -m stack --cov --cov-append --cov-report=term:skip-covered

crash: install ## Kill workers, supervisor and database in the middle of many runs, over and over; ten minutes
	$(PYTHON) -m pytest -m slow

soak: install ## Ten thousand provisionings through one pool, and what its processes hold meanwhile; half an hour
	$(PYTHON) -m tests.crash.soak

lint: install ## Look for what is wrong or badly formatted
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: install ## Check the types
	.venv/bin/mypy

imports: install ## Check who imports whom
	.venv/bin/lint-imports

format: install ## Format the code, and mend what can be mended
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: install ## Write what is generated from the code: tables, settings, picture, init script
	$(PYTHON) -m docs.generate

bench: install $(BENCH) ## Measure the product, beside Temporal and DBOS and alone; figures, no verdict
	$(PYTHON) -m benchmarks --json docs/measured/figures.json
	$(PYTHON) -m docs.generate

$(BENCH): requirements-bench.lock
	test -x .venv-bench/bin/python || $(PYTHON3) -m venv .venv-bench
	.venv/bin/uv pip sync --quiet --python .venv-bench/bin/python --require-hashes requirements-bench.lock
	touch $@

lock: install ## Choose the newest versions of everything that pyproject.toml allows
	echo uv | .venv/bin/uv pip compile - --upgrade --quiet --universal --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --output-file requirements-bootstrap.txt
	.venv/bin/uv pip compile pyproject.toml --group dev --upgrade --quiet --universal --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file requirements.lock
	.venv/bin/uv pip compile --group bench --upgrade --quiet --universal --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --output-file requirements-bench.lock

clean: ## Remove .venv, the local stack's data, and everything that tools have left
	test ! -x $(RUN) || $(RUN) down
	rm -rf .venv .venv-bench .local .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
