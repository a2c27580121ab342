# Every option is a key=value behind the verb: make run model=flat seed=7. No shell reads the values.
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
PYTHONS := python3 python3.13 python3.12 python3.11

# make would expand exported values, and so run what stands in $(shell ...): export none of them.
unexport $(foreach o,$(MAKEOVERRIDES),$(firstword $(subst =, ,$(o))))

.DEFAULT_GOAL := help
.PHONY: help run serve predict step config test lint bench lock clean

help: ## what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: .venv/.steps ## the whole pipeline: make run model=deep hw=gpu dataset.source=csv dataset.path=closes.csv
	@$(BIN)/tapeline --from-make run

serve: .venv/.steps ## TF Serving's API on the store: make serve serving.rest_port=8501
	@$(BIN)/tapeline --from-make serve

predict: .venv/.steps ## ask a server: make predict date=2014-08-12 (or random=true, or rows=FILE.csv)
	@$(BIN)/tapeline --from-make predict

config: .venv/.steps ## print the configuration that overrides make
	@$(BIN)/tapeline --from-make config

test: lint ## lint, types, import direction and every fast test
	@$(BIN)/python -m pytest

lint: .venv/.dev
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

bench: .venv/.dev ## seconds and ratios; README's figures come from here
	@$(BIN)/python -m benchmarks

lock: ## resolve the pinned requirements anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --extra steps pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --extra steps --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove the environment and the cache; runs and the store stay
	rm -rf .venv .tapeline

.venv/.steps: requirements.lock pyproject.toml
	@$(call install,requirements.lock)

.venv/.dev: requirements-dev.lock .venv/.steps
	@$(call install,requirements-dev.lock)

# The first Python that will do makes .venv; uv, where it is there, only fills it faster.
define install
set -e; \
if [ ! -x $(BIN)/python ]; then \
  for p in $(PYTHONS); do \
    if "$$p" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then found=$$p; break; fi; \
  done; \
  if [ -z "$$found" ]; then echo "tapeline: none of $(PYTHONS) is Python 3.11 to 3.13 with venv; install one (TensorFlow 2.20 has no packages for others)" >&2; exit 2; fi; \
  echo "making .venv with $$($$found --version); this happens once"; \
  $$found -m venv .venv; \
fi; \
echo "installing $(1)"; \
if command -v uv >/dev/null; then \
  uv pip install --quiet --python $(BIN)/python -r $(1); uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
else \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(1); \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
fi; \
touch $@
endef
