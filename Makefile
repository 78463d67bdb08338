# Everything a newcomer needs is `make demo` and `make test`; both install what they need into .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo test test-oldest test-slow bench gpu check check-phantom coverage docs site wheel
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

venv: $(READY) ## Create .venv with everything installed

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); this takes one to three minutes ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@touch $@

demo: venv ## Fine-tune, score and tabulate on simulated images: Tables 1 and 2 in minutes, without a GPU or a download
	@$(BIN)/usfm-bench run --suite demo
	@$(BIN)/usfm-bench report --suite demo --format markdown
	@$(BIN)/usfm-bench report --suite demo --format html --out reports/demo
	@echo "The same as a page, with every case: reports/demo/index.html"
	@echo "Next: $(BIN)/usfm-bench data add NAME FOLDER reads your own images; docs/usage.md has every command."

# Each of many fresh interpreters would compile the package where byte code is not kept.
test: export PYTHONDONTWRITEBYTECODE =
test: venv ## Run the tests
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: venv ## Run the tests that take minutes each
	$(BIN)/python -m pytest -q -m slow

test-oldest: venv ## Try the wheel with the oldest libraries that it allows, without torch
	PYTHON=$(BIN)/python scripts/test_oldest.sh

bench: venv ## Time the parts that must be fast, beside what a user would pick instead
	$(BIN)/python -m pytest tests/benchmarks -o addopts=--import-mode=importlib --benchmark-only --benchmark-columns=min,median,rounds

gpu: venv ## See in under ten minutes what a GPU does: tests, speed, same bits, BUSI in short (GPU="--data-root DIR --skip compile")
	$(BIN)/python scripts/gpu_checks.py --out build/gpu $(GPU)

check: venv ## Lint, format, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos

check-phantom: venv ## Train the phantom suite and compare it with its committed baseline (two minutes)
	$(BIN)/usfm-bench run --suite phantom --runs build/phantom
	$(BIN)/usfm-bench check --baseline reports/baselines/phantom.json --runs build/phantom

coverage: venv ## Simulate how often intervals hold the truth, for the tables of docs/interval-coverage.md (minutes)
	PYTHONPATH=tests $(BIN)/python -m simulated
	$(BIN)/python scripts/write_coverage.py

docs: venv ## Write the parts of docs/ that come from the code, and the example report from the demo
	$(BIN)/usfm-bench run --suite demo
	$(BIN)/python scripts/write_docs.py

site: venv ## Build the documentation as a site in build/site that opens from disk
	@$(BIN)/python -c "import material" 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --clean
	@echo "Wrote build/site; open build/site/index.html"

wheel: venv ## Build the wheel and try it in an environment without torch
	PYTHON=$(BIN)/python scripts/try_wheel.sh
