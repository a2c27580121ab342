# Every option is a key=value behind the verb: make run model=flat seed=7. No shell reads the values.
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
RESOLVE := uv pip compile --quiet --python-version 3.11 --no-annotate --no-header
IMAGE := $(RESOLVE) --python-platform x86_64-manylinux_2_28 --extra steps --extra bigquery --extra gcs --extra postgres --extra s3
PYTHONS := python3 python3.13 python3.12 python3.11

# make would expand exported values, and so run what stands in $(shell ...): export none of them.
unexport $(foreach o,$(MAKEOVERRIDES),$(firstword $(subst =, ,$(o))))

# Verbs of tapeline: first those of a laptop, then those that write Argo's and KFP's words.
HERE := run runs explore sweep serve predict publish canary promote rollback \
  versions config images cluster cluster-down verify-cluster
THERE := build workflows check submit

.DEFAULT_GOAL := help
.PHONY: $(HERE) $(THERE) help test test-faults test-k80 test-cluster lint bench bench-serving lock protos schemas clean

help: ## what can be done here
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

run: ## the whole pipeline: make run model=deep hw=gpu dataset.source=csv dataset.path=closes.csv
runs: ## past runs: make runs, make runs compare=a,b, repeat=a, keep=10
explore: ## look at the data before any training: make explore dataset.source=csv dataset.path=closes.csv
sweep: ## a run for each combination, and a leaderboard: make sweep model=flat,deep
serve: ## TF Serving's API on the store: make serve serving.rest_port=8501
predict: ## ask a server: make predict date=2014-08-12 (or random=true, or rows=FILE.csv)
publish: ## make an accepted run's model live: make publish run=latest
canary: ## serve a run's model beside the live one: make canary run=latest
promote: ## make the canary the live one, or version=N
rollback: ## back to the version that was live before: make rollback why='it shorts everything'
versions: ## what the store holds
config: ## print the configuration that overrides make
images: ## build the images of the steps: make images image=cpu builder='podman build'
cluster: ## the commands that make a cluster: make cluster provider=kind (or gke hw=gpu-t4), run=true runs them
cluster-down: ## the commands that remove it: make cluster-down provider=kind
verify-cluster: ## after kubectl apply -k: train there, ask the server, knock as a stranger
build: ## the graph for a cluster: make build target=argo (or kfp, tfjob) experiment=snp_deep hw=gpu
workflows: ## the shipped experiments in workflows/, anew
check: ## verify every option, the graph, emitted YAML, images and the Kustomize tree, offline
submit: ## run it on a cluster, and fetch what it made: make submit target=argo (or kfp, tfjob) experiment=snp_deep

$(HERE): .venv/.steps
$(THERE): .venv/.dev
$(HERE) $(THERE):
	@$(BIN)/tapeline --from-make $@

test: lint ## lint, types, import direction and every fast test
	@$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

lint: .venv/.dev
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

test-faults: .venv/.dev ## kills, full disks, mutated configurations and files, at length; prints its figures
	@$(BIN)/python -m tests.faults

test-k80: .venv/.dev .venv-k80/.steps ## the whole graph on TensorFlow 2.14, the K80's; its models served by 2.20
	@$(BIN)/python -m pytest tests/k80.py

test-cluster: .venv/.dev ## what runs on the cluster that KUBECONFIG names; it builds its images as make images does
	@$(BIN)/python -m pytest tests/cluster

bench: .venv/.dev ## seconds and ratios; README's figures come from here
	@$(BIN)/python -m benchmarks

bench-serving: .venv/.dev ## requests per second of tapeline serve, with versions changing meanwhile
	@$(BIN)/python -m benchmarks serving

lock: ## resolve the pinned requirements anew (needs uv)
	$(RESOLVE) --universal --extra steps --extra tensorflow pyproject.toml -o requirements.lock
	$(RESOLVE) --universal --extra steps --extra tensorflow --extra argo --extra check --extra kfp --group dev -c requirements.lock pyproject.toml \
	  -o requirements-dev.lock
	$(RESOLVE) --extra steps --extra k80 pyproject.toml -o requirements-k80.lock
	$(IMAGE) --extra tensorflow -c requirements.lock pyproject.toml -o deploy/images/cpu/requirements.lock
	$(IMAGE) --extra tensorflow --extra cuda -c requirements.lock pyproject.toml -o deploy/images/gpu/requirements.lock
	$(IMAGE) --extra k80 --extra cuda11 -c requirements-k80.lock pyproject.toml -o deploy/images/gpu-k80/requirements.lock

# The protoc of protobuf 4.25, TensorFlow 2.14's: later protobufs read its modules, it reads none of theirs.
PROTOC := uv run --quiet --no-project --python 3.11 --with grpcio-tools==1.62.3 --with 'setuptools<81' python -m grpc_tools.protoc
protos: ## generate the protobuf modules of src/tapeline/serving/protos (needs uv)
	$(PROTOC) --proto_path=src --python_out=src --pyi_out=src src/tapeline/serving/protos/*.proto

schemas: .venv/.dev ## take Argo's and TFJob's schemas from their Go modules into src/tapeline/checks/schemas (needs go)
	@$(BIN)/python -m tests.schemas

clean: ## remove the environment and the cache; runs and the store stay
	rm -rf .venv .venv-k80 .tapeline

.venv/.steps: requirements.lock pyproject.toml
	@$(call install,.venv,requirements.lock,$(PYTHONS),14)

.venv/.dev: requirements-dev.lock .venv/.steps
	@$(call install,.venv,requirements-dev.lock,$(PYTHONS),14)

.venv-k80/.steps: requirements-k80.lock pyproject.toml
	@$(call install,.venv-k80,requirements-k80.lock,python3.11 python3,12)

# $(1) the environment, $(2) the lock file, $(3) Pythons to try, $(4) the first 3.x that will not do.
# The first Python that will do makes the environment; uv, where it is there, only fills it faster.
define install
set -e; \
if [ ! -x $(1)/bin/python ]; then \
  for p in $(3); do \
    if "$$p" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $(4)))' 2>/dev/null; then found=$$p; break; fi; \
  done; \
  if [ -z "$$found" ]; then echo "tapeline: none of $(3) is Python 3.11 or later, and below 3.$(4), with venv; install one (TensorFlow has no packages for others)" >&2; exit 2; fi; \
  echo "making $(1) with $$($$found --version); this happens once"; \
  $$found -m venv $(1); \
fi; \
echo "installing $(2)"; \
if command -v uv >/dev/null; then \
  uv pip install --quiet --python $(1)/bin/python -r $(2); uv pip install --quiet --python $(1)/bin/python --no-deps -e .; \
else \
  $(1)/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -r $(2); \
  $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
fi; \
touch $@
endef
