# The two commands: `make` runs the default benchmark to its report, `make test` passes the tests.
PYTHON ?= python3
UV ?= uv
export OMP_NUM_THREADS ?= 1

.PHONY: all benchmark test lint environment lock clean
all: benchmark

benchmark: .venv/.ready
	.venv/bin/snakemake

environment: .venv/.ready

# Byte code is compiled at install: a run starts dozens of Python processes.
.venv/.ready: requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || { echo "uv is missing: python3 -m pip install uv (or apt, brew, cargo)"; exit 1; }
	$(UV) venv --quiet --allow-existing --python ">=3.11,<3.14" .venv
	$(UV) pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --compile-bytecode --editable .
	touch $@

lock:
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --all-extras --no-header pyproject.toml --output-file requirements.lock

lint: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy

test: lint
	.venv/bin/pytest -n 2 --dist worksteal

clean:
	rm -rf .venv results/default .snakemake
