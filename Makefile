# Options follow the command as key=value: make run model=flat seed=7. No shell reads the values.
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
RESOLVE := uv pip compile --quiet --python-version 3.11 --no-annotate --no-header
IMAGE := $(RESOLVE) --python-platform x86_64-manylinux_2_28 --extra steps --extra bigquery --extra cmaes --extra gcs --extra kaggle --extra postgres --extra s3
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=4 --dist=loadfile
PYTHONS := python3 python3.13 python3.12 python3.11

# Export no value: make would expand it, and so run a $(shell ...) in it.
unexport $(foreach o,$(MAKEOVERRIDES),$(firstword $(subst =, ,$(o))))

# Goals of make itself. Every other goal is a command of tapeline.
OWN := help test test-docs test-matrix test-results test-mutants test-faults test-k80 test-cluster docs lint bench bench-conv bench-data bench-serving lock protos schemas clean bench-features bench-lightgbm bench-steps test-servers bench-tune bench-cluster bench-fanout
# Commands that need the packages which write YAML for clusters.
FOR_CLUSTERS := build workflows check submit

.DEFAULT_GOAL := help

ifneq ($(filter-out $(OWN) .venv/% .venv-docs/% .venv-k80/% .venv-servers/%,$(MAKECMDGOALS)),)

# One call for the whole line, also if files have the names of goals: it refuses a second goal before anything starts.
override TAPELINE_GOALS := $(MAKECMDGOALS)
export TAPELINE_GOALS
COMMANDS := $(subst _,-,$(filter-out __init__,$(notdir $(patsubst %.py,%,$(patsubst %/__init__.py,%,$(wildcard \
  src/tapeline/commands/*.py src/tapeline/commands/*/__init__.py))))))
# Only a line that can be understood makes the environment: one command, or help and one command.
ONE := $(filter 1,$(words $(MAKECMDGOALS)))$(and $(filter help,$(firstword $(MAKECMDGOALS))),$(filter 2,$(words $(MAKECMDGOALS))))
UNDERSTOOD := $(and $(ONE),$(filter $(COMMANDS),$(lastword $(MAKECMDGOALS))))
.PHONY: forward
forward: $(if $(UNDERSTOOD),$(if $(filter $(FOR_CLUSTERS),$(MAKECMDGOALS)),.venv/.clusters,.venv/.steps))
	@if [ ! -x $(BIN)/tapeline ]; then \
	  printf 'tapeline: make %s: is not one command; write one command and its options, as in make run model=flat, or see make help\n' \
	    "$$TAPELINE_GOALS" >&2; exit 2; \
	fi; $(BIN)/tapeline --from-make $(OWN)
%: forward ; @:
Makefile pyproject.toml requirements.lock requirements-clusters.lock requirements-dev.lock: ;

else

.PHONY: $(OWN)

# Each command in src/tapeline/commands has GROUP and HELP on one line each, so this needs no Python.
COMMAND_HELP := /^GROUP = "/ { group = $$0; gsub(/^GROUP = "|"$$/, "", group) } \
  /^HELP = "/ { name = FILENAME; sub(/.*commands\//, "", name); sub(/(\/__init__)?\.py$$/, "", name); \
  gsub(/_/, "-", name); gsub(/^HELP = "|"$$/, ""); lines[group] = lines[group] sprintf("  make %-15s %s\n", name, $$0) } \
  END { split("run and look,sweep and compare,serve,clusters,maintenance", groups, ","); \
  for (at = 1; at <= 5; at++) printf "%s\n%s\n", groups[at], lines[groups[at]] }

help: ## all commands; make help run explains the command run
	@awk '$(COMMAND_HELP)' $(sort $(wildcard src/tapeline/commands/*.py src/tapeline/commands/*/__init__.py))
	@echo 'test and develop'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile
	@echo; echo 'Options follow as key=value: make run model=flat seed=7. make config group=model lists the keys of a group.'

LINT = $(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy --no-error-summary && $(BIN)/lint-imports --no-logo

# Side by side, since lint uses one core.
test: .venv/.dev ## lint, types, import direction and every fast test
	@{ $(LINT); } & lint=$$!; $(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations=25; tests=$$?; \
	if ! wait $$lint; then echo 'make lint: failed; its output is above' >&2; exit 1; fi; exit $$tests

lint: .venv/.dev ## style, types and import direction
	@$(LINT)

test-matrix: .venv/.dev ## every combination of options is built and run, or refused with an alternative; the long tests
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'matrix or long'

test-results: .venv/.dev ## published and reference figures on the data of TAPELINE_DATA; golden metrics.json
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m results -rs

test-mutants: .venv/.dev ## mistakes planted in gate, splits, store, cache and overrides; most must make a test fail
	@$(BIN)/python -m tests.mutants

test-servers: .venv/.drivers .venv-servers/.programs ## tests on PostgreSQL, SeaweedFS, a BigQuery emulator, Chromium
	@$(BIN)/python -m pytest -m servers -rs tests/servers tests/report

docs: .venv/.steps .venv-docs/.docs ## the documentation as a site in docs/_build/html; internal links are checked
	@$(BIN)/python docs/generate.py
	@.venv-docs/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going docs docs/_build/html
	@echo 'open docs/_build/html/index.html'

test-docs: .venv/.dev docs ## the commands of README and docs, and the wheel in an empty folder
	@$(BIN)/python -m pytest -m docs -rs tests/docs

test-faults: .venv/.dev .venv-servers/.programs ## kills, full disks, damaged stores, mutated files and requests; prints the results
	@$(BIN)/python -m tests.faults

test-k80: .venv/.dev .venv-k80/.steps ## the whole graph on TensorFlow 2.14 (K80), its models served by 2.20
	@$(BIN)/python -m pytest tests/k80.py

test-cluster: .venv/.dev ## tests on the cluster of KUBECONFIG; builds its images as make images does
	@$(BIN)/python -m pytest tests/cluster -rs --durations=0

bench: .venv/.dev ## seconds and ratios of runs; the figures in README
	@$(BIN)/python -m benchmarks

bench-data: .venv/.dev ## peak memory and seconds for tables and files larger than memory
	@$(BIN)/python -m benchmarks data parsing

bench-conv: .venv/.dev ## images per second of the convolutional network beside Keras
	@$(BIN)/python -m benchmarks conv

bench-features: .venv/.dev ## features of minute bars beside a pandas recipe; a large CSV to a table
	@$(BIN)/python -m benchmarks features

bench-lightgbm: .venv/.dev ## training from a file beside a bare lightgbm.train: seconds and peak memory
	@$(BIN)/python -m benchmarks lightgbm

bench-steps: .venv/.dev ## seconds and peak memory of each step at 5 million test rows
	@$(BIN)/python -m benchmarks steps

bench-serving: .venv/.dev ## requests per second of make serve while versions change
	@$(BIN)/python -m benchmarks serving

bench-tune: .venv/.dev ## seconds of a search beside a plain loop around the same trainings, and of two processes
	@$(BIN)/python -m benchmarks tuning

bench-cluster: .venv/.dev ## seconds from submit to accepted on the cluster of KUBECONFIG, beside make run, with the parts
	@$(BIN)/python -m benchmarks cluster

bench-fanout: .venv/.dev ## seconds of pods beside the work of a sweep's job on that cluster, and what parallel pods gain
	@$(BIN)/python -m benchmarks fanout

lock: ## resolve the pinned requirements (needs uv)
	$(RESOLVE) --universal --extra steps --extra tensorflow pyproject.toml -o requirements.lock
	$(RESOLVE) --universal --extra steps --extra tensorflow --extra argo --extra check --extra kfp --group dev -c requirements.lock pyproject.toml \
	  -o requirements-dev.lock
	$(RESOLVE) --universal --group servers -o requirements-servers.lock
	$(RESOLVE) --universal --extra steps --extra tensorflow --extra argo --extra check --extra kfp -c requirements-dev.lock pyproject.toml \
	  -o requirements-clusters.lock
	$(RESOLVE) --universal --group docs -o requirements-docs.lock
	$(RESOLVE) --extra steps --extra k80 pyproject.toml -o requirements-k80.lock
	$(IMAGE) --extra tensorflow -c requirements.lock pyproject.toml -o deploy/images/cpu/requirements.lock
	$(IMAGE) --extra tensorflow --extra cuda -c requirements.lock pyproject.toml -o deploy/images/gpu/requirements.lock
	$(IMAGE) --extra k80 --extra cuda11 -c requirements-k80.lock pyproject.toml -o deploy/images/gpu-k80/requirements.lock

# The protoc of protobuf 4.25, for TensorFlow 2.14: newer protobufs can read its modules, but not the reverse.
PROTOC := uv run --quiet --no-project --python 3.11 --with grpcio-tools==1.62.3 --with 'setuptools<81' python -m grpc_tools.protoc
protos: ## generate the protobuf modules of src/tapeline/serving/protos (needs uv)
	$(PROTOC) --proto_path=src --python_out=src --pyi_out=src src/tapeline/serving/protos/*.proto

schemas: .venv/.dev ## copy the schemas of Argo and TFJob from their Go modules to src/tapeline/checks/schemas (needs go)
	@$(BIN)/python -m tests.schemas

clean: ## remove the environment and the cache; runs and the store stay
	rm -rf .venv .venv-docs .venv-k80 .venv-servers .tapeline docs/_build

endif

.venv/.steps: requirements.lock pyproject.toml
	@$(call install,.venv,requirements.lock,$(PYTHONS),14,3 GB)

.venv/.clusters: requirements-clusters.lock .venv/.steps
	@$(call install,.venv,requirements-clusters.lock,$(PYTHONS),14,3.3 GB in all)

.venv/.dev: requirements-dev.lock .venv/.steps
	@$(call install,.venv,requirements-dev.lock,$(PYTHONS),14,4 GB in all)

.venv-docs/.docs: requirements-docs.lock
	@$(call install,.venv-docs,requirements-docs.lock,$(PYTHONS),14,100 MB)

# bqemulator needs numpy, and does not say so.
.venv-servers/.programs: requirements-servers.lock requirements.lock
	@$(call install,.venv-servers,requirements-servers.lock,$(PYTHONS),14,1 GB)
	@grep -E '^numpy==' requirements.lock > $@.txt
	@.venv-servers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $@.txt && touch $@

# Drivers of databases, which only these tests need.
.venv/.drivers: deploy/images/cpu/requirements.lock .venv/.dev
	@grep -E '^(psycopg|psycopg-binary|sqlalchemy-bigquery)==' $< > $@.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.lock -r $@.txt && touch $@

.venv-k80/.steps: requirements-k80.lock pyproject.toml
	@$(call install,.venv-k80,requirements-k80.lock,python3.11 python3,12,2 GB)

# $(1) the environment, $(2) the lock file, $(3) Pythons to try, $(4) the first 3.x that is too new, $(5) its size.
# The first suitable Python makes the environment. uv, which pip brings, installs it four times as fast as pip; it does not
# read pip's configuration, so pip installs where that names an index or a proxy, and where uv fails. A terminal sees progress.
# Without byte code: a package is compiled when it is first imported, and most of TensorFlow never is. Where the environment
# forbids to write it, every process would compile again.
unexport PYTHONDONTWRITEBYTECODE
UV := uv==0.13.9
define install
set -e; \
if [ ! -x $(1)/bin/python ]; then \
  for p in $(3); do \
    if "$$p" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $(4)))' 2>/dev/null; then found=$$p; break; fi; \
  done; \
  if [ -z "$$found" ]; then echo "tapeline: none of $(3) is Python 3.11 or later, and below 3.$(4), with venv; install one, as in apt install python3.12-venv (TensorFlow has no packages for others)" >&2; exit 2; fi; \
  echo "making $(1) with $$($$found --version); this happens once"; \
  $$found -m venv $(1); \
fi; \
echo "installing $(2) into $(1): about $(5) on disk, 1 to 10 minutes by the network"; \
if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
export PIP_DISABLE_PIP_VERSION_CHECK=1; \
pip="$(1)/bin/python -m pip"; uv="$(1)/bin/uv pip install --python $(1)/bin/python"; \
if ! $$pip config list | grep -qE 'index|proxy|trusted-host' \
  && { [ -x $(1)/bin/uv ] || $$pip install --quiet '$(UV)'; } \
  && $$uv $$quiet -r $(2) && $$uv --quiet --no-deps -e .; then :; else \
  $$pip install $$quiet --no-compile --use-pep517 -r $(2); \
  $$pip install --quiet --no-deps -e .; \
fi; \
touch $@
endef
