# make demo   watch the whole loop on a real Airflow        make test   every test
# make bench  the benchmarks, as ratios                     make lint   ruff, mypy, layers
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
JOBS   ?= 2
EXTRAS := amazon,demo,great-expectations,mysql,onnx,plots,polars,postgres

.PHONY: demo test bench lint docs ui constraints compose-env clean

# Each target installs what it needs once; a change of pyproject.toml or of the pins installs again.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Windsock needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Run: make PYTHON=python3.12 …" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e ".[demo]"
	touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e ".[$(EXTRAS)]" --group dev
	mkdir -p .typecheck && ln -sfn .. .typecheck/windsock
	touch $@ $(VENV)/.demo-installed

demo: $(VENV)/.demo-installed
	@$(BIN)/windsock demo $(ARGS)

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

bench: $(VENV)/.dev-installed
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p windsock.provider
	$(BIN)/lint-imports

docs: $(VENV)/.dev-installed
	$(BIN)/python docs/reference.py

# Secrets for docker-compose.yaml, once; an existing .env is left alone.
compose-env:
	@$(PYTHON) docker/env.py .env

ui:
	npm --prefix plugins/app ci
	npm --prefix plugins/app run build

# The pins of everything, for every Python and platform; without a word about where they came from.
constraints: $(VENV)/.dev-installed
	$(BIN)/uv pip compile --universal --python-version 3.10 pyproject.toml --all-extras --group dev \
		--no-header --no-annotate --no-emit-index-url --upgrade -o constraints.txt

clean:
	rm -rf build dist *.egg-info .demo .bench
