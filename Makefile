# The two commands: `make` runs the default benchmark to its report, `make test` passes the tests.
# A uv on the PATH is used; without one it is installed into .uv/.
PYTHON ?= python3
UV := $(or $(shell command -v uv),.uv/bin/uv)

.PHONY: benchmark test lint environment cards reference lock
benchmark: environment
	.venv/bin/snakemake

test: lint
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 --dist loadgroup

lint: environment
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy

cards: environment
	.venv/bin/segbench cards

reference: environment
	.venv/bin/segbench reference

environment: .venv/.ready

# Byte code is compiled at install: a run starts dozens of Python processes.
.venv/.ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python ">=3.11,<3.14" .venv
	$(UV) pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --compile-bytecode --editable .
	touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv

lock: | $(UV)
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --all-extras --no-header pyproject.toml --output-file requirements.lock
