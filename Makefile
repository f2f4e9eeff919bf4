# Everything a newcomer needs: `make demo` and `make test`. Only Python ≥ 3.11 (with venv), make and the package registries are assumed.
.DEFAULT_GOAL := help
.PHONY: help demo demo-otlp up test test-compat check sim soak bench boards lock

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MEMBERS := schemas producers processors sinks dashboards deploy
# What Python compiles is kept here, wherever the environment may want it: else every process compiles polars and Faust anew.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/bytecode
unexport PYTHONDONTWRITEBYTECODE

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 14

demo: $(READY) ## Start the whole line with an example service, raise three incidents, check every number
	@$(BIN)/spanloom demo

demo-otlp: $(READY) ## The same by OTLP: an application that knows OpenTelemetry alone, through the gateway
	@$(BIN)/spanloom demo --otlp "$$(sh examples/otel_service/environment.sh)"

up: $(READY) ## Keep the line running for your own services
	@$(BIN)/spanloom up

test: check ## Check and run all tests
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-compat: $(READY) ## Test with what others run: SDKs under real instrumentations, MLflow; each in an environment of its own
	@for run in tests/compat/*/run.sh; do sh "$$run" || exit 1; done

sim: $(READY) ## Simulate SEEDS stories from seed SEED on
	@$(BIN)/python -m tests.sim.run --seeds $(or $(SEEDS),200) --seed $(or $(SEED),0)

check: $(READY) ## Lint, types, import arrows, locks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@sh deploy/check-locks.sh

KILLS ?= 100
SEEDS ?= 1000
SEED ?= 1
FAULTS ?=
soak: $(READY) ## Faults on real processes at length, and simulation seeds: KILLS= SEEDS= SEED= FAULTS=names,with,commas
	@$(BIN)/python -m tests.faults.soak --kills "$(KILLS)" --seeds "$(SEEDS)" --seed "$(SEED)" --faults "$(FAULTS)"

bench: $(READY) ## Measure; one line a figure
	@$(BIN)/python benchmarks/run.py

boards: $(READY) ## Write Grafana's boards again
	@$(BIN)/python -m spanloom_boards

lock: $(READY) ## Resolve the dependencies again
	@sh deploy/lock.sh

$(READY): requirements.lock uv.requirements.lock $(MEMBERS:%=%/pyproject.toml)
	@PYTHON="$(PYTHON)" sh deploy/bootstrap.sh
	@touch $@
