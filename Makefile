# make demo, make test: two commands on a fresh machine with Python >= 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(shell date -u +%Y%m%d-%H%M%S)

# Processes that run tests. Most tests use one core, or wait for another process.
TEST_JOBS ?= 2

# A full run; `make test-slow` takes a sample of each.
FAULT_KILLS ?= 20
FUZZ_INPUTS ?= 475
FUZZ_PROCESSES ?= 25

# Real rows and IndoBERT's architecture where they lie beside the checkout, else the sample alone.
BENCH_DATA ?= $(firstword $(wildcard ../shared/data/severity_tweets.csv) sample)
BENCH_ARCHITECTURE ?= $(wildcard ../shared/models/indobert-base-p1-architecture)

.PHONY: help demo install check-install test test-slow faults fuzz soak bench decisions pictures audit lint format ci-search clean
.NOTPARALLEL:

help:
	@echo "make demo       search, retrain and test on the bundled sample (under 5 minutes on 2 cores)"
	@echo "make install    what a node of a cluster needs, into $(VENV): the dashboard, s3://"
	@echo "make check-install  checks that it is complete"
	@echo "make test       the test suite"
	@echo "make test-slow  a sample of the tests that take long: processes killed, memory, whole searches"
	@echo "make faults     every slow test; the driver killed at 20 random moments (an hour and a half)"
	@echo "make fuzz       500 mutated inputs: data, configurations, models, runs (10 minutes)"
	@echo "make soak       a search of 300 short trials: memory, disk, processes (5 minutes)"
	@echo "make bench      speed: beside the Trainer, and 2,000 trials (half an hour)"
	@echo "make decisions  what ways of searching choose and cost, on recorded and simulated searches"
	@echo "make pictures   makes README's pictures again, from a search on the bundled sample"
	@echo "make audit      known vulnerabilities of the installed packages, where the list can be read"
	@echo "make lint       ruff and mypy"
	@echo "make format     ruff's formatter and its safe fixes"
	@echo "make ci-search  a search with a small budget, then the final evaluation"
	@echo "make clean      remove $(VENV) and caches; results/runs stays"

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "make: PYTHON is $(PYTHON), which is not on the PATH; install Python 3.11 or newer, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "make: $(PYTHON) is Python " + sys.version.split()[0] + ", but must be 3.11 or newer; run make PYTHON=/path/to/python3.11")'
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "make: $(PYTHON) cannot make a virtual environment; install its venv and ensurepip modules (on Debian: python3-venv)" >&2; exit 1; }

# Editable: commands run from the checkout, and a copy in site-packages would go stale beside it.
# An environment is filled once a set of extras, and again when its versions change.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the packages for $* into $(VENV) (about 2 GB the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.$(EXTRAS_$*)'
	@touch $@

EXTRAS_run := [dashboard]
EXTRAS_node := [dashboard,s3]
EXTRAS_test := [dashboard,test]
EXTRAS_bench := [dashboard,bench]
EXTRAS_decisions := [dashboard,decisions]
EXTRAS_lint := [lint]
EXTRAS_audit := [audit]
.PRECIOUS: $(VENV)/.installed-%

# What a node of a cluster runs with: cluster/Dockerfile and cluster/launcher call it.
install: $(VENV)/.installed-node

# Checks that it is complete: the commands, the dashboard, s3://.
check-install: $(VENV)/.installed-node
	@$(BIN)/python -m tuning.search --print-config >/dev/null
	@$(BIN)/python -c 'import evaluation.final, ray.dashboard.optional_deps, s3fs, tuning.run_search'
	@$(BIN)/ray --version

demo: $(VENV)/.installed-run
	@$(BIN)/python -m tuning.search --name demo-$(STAMP)
	@$(BIN)/python -m evaluation.final --run results/runs/demo-$(STAMP) --gates none

ci-search: $(VENV)/.installed-run
	@$(BIN)/python -m tuning.search --config ci --name ci-$(STAMP)
	@$(BIN)/python -m evaluation.final --run results/runs/ci-$(STAMP) --gates none

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -q -n $(TEST_JOBS) -m "not slow"

test-slow: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -q -n $(TEST_JOBS) -m "slow and not long"

faults: $(VENV)/.installed-test
	@FAULT_KILLS=$(FAULT_KILLS) $(BIN)/python -m pytest -v -m slow \
	    --ignore tests/faults/test_mutated_inputs.py

fuzz: $(VENV)/.installed-test
	@FUZZ_INPUTS=$(FUZZ_INPUTS) FUZZ_PROCESSES=$(FUZZ_PROCESSES) \
	    $(BIN)/python -m pytest -v -m slow tests/faults/test_mutated_inputs.py

soak: $(VENV)/.installed-run
	@$(BIN)/python -m benchmarks.soak

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.throughput --data $(BENCH_DATA) \
	    $(if $(BENCH_ARCHITECTURE),--architecture $(BENCH_ARCHITECTURE))
	@$(BIN)/python -m benchmarks.scale

decisions: $(VENV)/.installed-decisions
	@$(BIN)/python -m benchmarks.decisions

pictures: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks.pictures

audit: $(VENV)/.installed-audit
	@$(BIN)/python .ci/audit.py

lint: $(VENV)/.installed-lint
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

format: $(VENV)/.installed-lint
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean:
	@rm -rf $(VENV) build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
