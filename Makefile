# `make` alone lists the targets.
.DEFAULT_GOAL := help
RUN := uv run --group dev

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install everything, tools included, into .venv
	uv sync --group dev

.PHONY: check
check: lint types layers ## All that needs no test: style, types, layers, dependencies

.PHONY: lint
lint: ## Style and formatting
	$(RUN) ruff check .
	$(RUN) ruff format --check .

.PHONY: format
format: ## Mend what can be mended by itself
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

.PHONY: types
types: ## Types, strictly
	$(RUN) mypy

.PHONY: layers
layers: ## Who may import whom, and whether each package declares what it imports
	$(RUN) lint-imports
	for member in packages/* services/*; do (cd $$member && $(RUN) deptry src) || exit 1; done

.PHONY: test
test: ## Tests; those that need a server which is not there are skipped and say so
	$(RUN) pytest

.PHONY: test-all
test-all: ## Tests, with every server required
	ORRERY_TEST_REQUIRE_SERVICES=1 $(RUN) pytest

.PHONY: docs
docs: ## Write what documents take from the code: settings, commands, HTTP API, functions
	$(RUN) python -m tests.architecture.made_documents

.PHONY: run
run: ## Everything in one process, with the demo
	uv run orrery up --demo

.PHONY: lock
lock: ## Export the locked dependencies that images and CI install
	.ci/lock requirements.lock

.PHONY: ci
ci: ## What CI runs
	.ci/run
