# make run: the whole pipeline on the built-in corpus.  make test: the tests.  make bench: how fast.
# make demo: a page in the browser that segments what is dropped into it.
# make services: MLflow, Prefect and a worker, until make services-stop (docs/operations.md).
# Each sets up what it needs; Python compiles what it imports, pip would compile everything.
# Our own is compiled at once: Python 3.11 leaves cut bytecode where it compiles on a disk that fills, and then fails.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILED := amd stages flows

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Empty is off: where it is on, every program would compile all that it imports again, which takes longer than its work.
export PYTHONDONTWRITEBYTECODE :=

# Tests run on every core at once: one thread each.
test test-fast: export OMP_NUM_THREADS := 1

.PHONY: run demo test test-fast bench faults fuzz lint docs services services-stop clean

run: $(VENV)/.run
	python -m stages.prepare
	dvc repro
	python -m stages.summary

demo: $(VENV)/.run
	amd demo $(DEMO_ARGUMENTS)

test: $(VENV)/.dev
	python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGUMENTS)

# The unit tests alone: no server, no store, no pipeline.
test-fast: $(VENV)/.dev
	python -m pytest tests/unit -n auto --dist loadfile $(PYTEST_ARGUMENTS)

# Wants a machine with nothing else running; `python -m benchmarks --help` has less of it.
bench: $(VENV)/.run
	python -m benchmarks --json .amd/bench.json

services: $(VENV)/.run
	python -m flows.services start

services-stop:
	python -m flows.services stop

# Tens of minutes, and some minutes; what they find is printed with the command that repeats it.
faults: $(VENV)/.run
	python -m faults --series 3

fuzz: $(VENV)/.run
	python -m fuzz

lint: $(VENV)/.dev
	ruff format --check .
	ruff check .
	lint-imports
	mypy amd

# The documentation as a site, .amd/site; fails on a broken link, picture, table or name.
docs: $(VENV)/.dev
	mkdocs build --strict --quiet
	@test "$$(find docs -name '*.md' -exec cat {} + | wc -w)" -le 12000 || { echo "docs/ has more than 12,000 words"; exit 2; }

# The pip that Python brings takes half as long again, but does where there is no other.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	-$@ -m pip install -qq -c constraints.txt --upgrade pip

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --no-compile -c constraints.txt -e .
	$(BIN)/python -m compileall -q $(COMPILED)
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -qq --no-compile -c constraints.txt -e '.[dev]'
	@# An independent F-beta and MAE to test ours against; it asks for older packages than it needs.
	$(BIN)/python -m pip install -qq --no-compile --no-deps pysodmetrics==1.6.2
	$(BIN)/python -m compileall -q $(COMPILED)
	touch $@ $(VENV)/.run

clean:
	test ! -d .amd/services || python -m flows.services stop
	python -m stages.clean
